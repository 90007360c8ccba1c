"""n > 1 of a single model: one call where the provider can do it, else as many side by side; the client sees no difference."""

from __future__ import annotations

from typing import Any

import pytest

from tests.every_dialect import EACH_DIALECT, client_of, speaking
from tests.providers.faults import SILENCE, status
from tests.providers.loopback import Call, Turn
from tests.test_tool_round_trip import STREAMED, TIME, complete
from upstreams.values import Usage

HELLO: Any = [{"role": "user", "content": "Hello"}]
TURN = Turn(text=("Good", " morning"), usage=Usage(prompt=8, completion=5))

ONE_CALL = (1, 3, 13)
THREE_CALLS = (3, None, 39)
"""How many calls for three answers, the `n` in each, and the tokens of all."""

COUNTS = {
    "openai": (ONE_CALL, ONE_CALL),
    "mistral": (ONE_CALL, ONE_CALL),
    "ai21": (ONE_CALL, THREE_CALLS),
    "cohere": (THREE_CALLS, THREE_CALLS),
}
"""Dialect → what is called for a whole answer, and for a streamed one."""


@EACH_DIALECT
@STREAMED
async def test_three_answers(dialect: str, stream: bool) -> None:
    """Three choices with indices in order, each whole, and the usage of all calls; `n` is not among the dropped."""
    calls, n, tokens = COUNTS[dialect][stream]
    async with speaking(dialect, TURN) as (provider, g), client_of(g) as api:
        answer = await complete(api, stream=stream, model=dialect, messages=HELLO, n=3)

    assert [received.body.get("n") for received in provider.received] == [n] * calls
    assert [(choice.index, choice.message.content, choice.finish_reason) for choice in answer.choices] == [
        (index, "Good morning", "stop") for index in range(3)
    ]
    assert answer.usage is not None
    assert answer.usage.total_tokens == tokens
    if not stream:
        assert answer.model_extra is not None
        report = answer.model_extra["x_rawbot"]
        assert report["status"] == "complete"
        assert [result["dropped_params"] for result in report["results"]] == [[]] * calls


@EACH_DIALECT
@STREAMED
async def test_one_answer_is_one_call(dialect: str, stream: bool) -> None:
    """n = 1 is no reason to ask twice."""
    async with speaking(dialect, TURN) as (provider, g), client_of(g) as api:
        answer = await complete(api, stream=stream, model=dialect, messages=HELLO, n=1)
    assert len(provider.received) == len(answer.choices) == 1


@pytest.mark.parametrize(("fields", "calls"), [({"n": 2, "temperature": 0}, 2), ({"n": 17}, 17), ({"n": 16}, 1)])
async def test_a_provider_with_conditions_is_asked_again_where_they_are_not_met(fields: dict[str, Any], calls: int) -> None:
    """AI21 gives up to sixteen answers at once, and several only above temperature 0."""
    async with speaking("ai21", TURN) as (provider, g):
        answer = await g.ask(model="ai21", **fields)
    assert len(provider.received) == calls
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["Good morning"] * fields["n"]


@EACH_DIALECT
@STREAMED
async def test_each_answer_has_calls_of_its_own(dialect: str, stream: bool) -> None:
    """Tool calls stay with their choice, and are counted from 0 in each."""
    turn = Turn(tool_calls=(Call("g6fVbXS8K", "time"),), finish="tool_calls")
    async with speaking(dialect, turn) as (_, g), client_of(g) as api:
        answer = await complete(api, stream=stream, model=dialect, messages=HELLO, tools=[TIME], n=2)
    assert [choice.finish_reason for choice in answer.choices] == ["tool_calls"] * 2
    calls = [call for choice in answer.choices for call in choice.message.tool_calls or []]
    assert [call.type == "function" and call.function.name for call in calls] == ["time"] * 2


async def test_repeated_answers_come_side_by_side() -> None:
    """No call waits for another: with every answer open in the middle, all three have been heard."""
    async with speaking("cohere", TURN) as (provider, g):
        provider.play(SILENCE)
        async with g.asking(model="cohere", n=3, stream=True) as exchange:
            await exchange.wait_until(lambda e: all(e.text(choice) == "Good morning" for choice in range(3)))
            assert provider.open_calls == 3
            exchange.leave()
        await provider.wait_until_quiet()
        assert provider.closed_early == 3


@STREAMED
async def test_one_of_several_may_fail(stream: bool) -> None:
    """The others are answered; the failed one is an empty choice, with its error in x_rawbot."""
    async with speaking("cohere", TURN) as (provider, g):
        provider.play_once(status(429, "too fast"))
        answer = await g.ask(model="cohere", n=3, stream=stream)

    assert answer.status == 200
    if stream:
        texts = [answer.text(choice) for choice in range(3)]
        report = next(event["x_rawbot"] for event in answer.events if "x_rawbot" in event)
        reasons = [item["finish_reason"] for event in answer.events[:-1] for item in event["choices"] if item["finish_reason"]]
    else:
        texts = [choice["message"]["content"] for choice in answer.json["choices"]]
        report = answer.json["x_rawbot"]
        reasons = [choice["finish_reason"] for choice in answer.json["choices"]]
    assert sorted(texts) == ["", "Good morning", "Good morning"]
    assert reasons == ["stop"] * 3
    assert report["status"] == "partial"
    failed = report["results"][texts.index("")]
    assert failed["error"] == {"type": "rate_limited", "status": 429, "message": "too fast"}


@STREAMED
async def test_all_of_several_fail_as_one(stream: bool) -> None:
    """Where every repeated call fails, the client gets one error with their status."""
    async with speaking("cohere", TURN) as (provider, g):
        provider.play(status(429, "too fast"))
        answer = await g.ask(model="cohere", n=2, stream=stream)
    assert answer.status == 429
    assert answer.json["error"]["code"] == "rate_limit_exceeded"
    assert len(provider.received) == 2


@pytest.mark.parametrize(("model", "n"), [("rawbot-omnibus", 2), ("cohere", 129)])
async def test_too_many_answers_are_refused(model: str, n: int) -> None:
    """A panel answers once per model, and OpenAI's limit is 128: 400 names `n`, and nobody is asked."""
    async with speaking("cohere", TURN) as (provider, g):
        refused = await g.ask(model=model, n=n)
    assert (refused.status, refused.json["error"]["param"]) == (400, "n")
    assert provider.received == []
