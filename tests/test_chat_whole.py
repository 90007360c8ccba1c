"""Answers that are not streamed, as a client sees them."""

from __future__ import annotations

import pytest

from tests.gateway import gateway
from tests.providers.faults import refused, status
from tests.providers.loopback import Call, Turn
from upstreams.values import Usage

A = Turn(text=("Good", " morning"), usage=Usage(prompt=10, completion=2))
B = Turn(text=("Bonjour",), usage=Usage(prompt=20, completion=3, cached=4, reasoning=1))


async def test_a_panel_answers_in_headed_sections() -> None:
    """Every upstream has a heading and its text, in configured order, in one choice; the usage is their sum."""
    async with gateway(A, B) as g:
        answer = (await g.ask()).json
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "rawbot-omnibus"
    [choice] = answer["choices"]
    assert choice["message"]["content"] == "--- [Provider A (a)] ---\nGood morning\n--- [Provider B (b)] ---\nBonjour"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "total_tokens": 35,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


async def test_x_rawbot_tells_how_each_upstream_fared() -> None:
    """Each result names provider and model, and has its own finish reason, usage and times."""
    async with gateway(A, B) as g:
        report = (await g.ask()).json["x_rawbot"]
    assert report["status"] == "complete"
    first, second = report["results"]
    assert (first["provider"], first["model"], first["finish_reason"]) == ("Provider A", "a", "stop")
    assert first["usage"]["total_tokens"] == 12
    assert second["usage"]["total_tokens"] == 23
    assert first["dropped_params"] == []
    assert 0 <= first["first_token_ms"] <= first["duration_ms"]
    assert "error" not in first


async def test_one_model_answers_without_a_heading() -> None:
    """A single model's text stands alone, under the model's own id."""
    async with gateway(A, B) as g:
        answer = (await g.ask(model="b")).json
        assert not g.providers[0].received
    assert answer["model"] == "b"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Bonjour", "refusal": None}


async def test_a_list_of_models_is_a_panel_in_that_order() -> None:
    """`b,a` asks just these, b first."""
    async with gateway(A, B, A) as g:
        answer = (await g.ask(model="b, a")).json
        assert not g.providers[2].received
    text = answer["choices"][0]["message"]["content"]
    assert text == "--- [Provider B (b)] ---\nBonjour\n--- [Provider A (a)] ---\nGood morning"


async def test_a_failed_upstream_keeps_its_heading() -> None:
    """One failure of two is a 200 of status partial, with a line in plain words in its section and the error beside."""
    async with gateway(A, status(429, "slow down, sk-abcdefgh12345678"), RETRIES="0") as g:
        exchange = await g.ask()
    assert exchange.status == 200
    answer = exchange.json
    text = answer["choices"][0]["message"]["content"]
    assert text.endswith("\n--- [Provider B (b)] ---\nRequest failed: rate limited (429)")
    assert answer["x_rawbot"]["status"] == "partial"
    error = answer["x_rawbot"]["results"][1]["error"]
    assert error == {"type": "rate_limited", "status": 429, "message": "slow down, …"}
    assert answer["usage"]["total_tokens"] == 12


async def test_a_cut_section_makes_the_finish_reason_length() -> None:
    """`length` in any section is the answer's."""
    async with gateway(A, Turn(text=("cut",), finish="length")) as g:
        assert (await g.ask()).json["choices"][0]["finish_reason"] == "length"


async def test_layout_choices_gives_each_upstream_its_own_choice() -> None:
    """With x_rawbot.layout choices, index is the place in the panel, and a failed one is empty."""
    async with gateway(A, status(500), B, RETRIES="0") as g:
        answer = (await g.ask(x_rawbot={"layout": "choices"})).json
    contents = [(choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in answer["choices"]]
    assert contents == [(0, "Good morning", "stop"), (1, "", "stop"), (2, "Bonjour", "stop")]
    assert answer["x_rawbot"]["results"][1]["error"]["status"] == 500


async def test_tool_calls_of_one_model_reach_the_client() -> None:
    """A single model's tool call comes whole, with null content."""
    turn = Turn(tool_calls=(Call("call_1", "weather", ('{"city":', '"Oslo"}')),), finish="tool_calls")
    async with gateway(turn) as g:
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
        [choice] = (await g.ask(model="a", tools=tools)).json["choices"]
        assert g.providers[0].received[0].body["tools"] == tools
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert call == {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


async def test_n_answers_of_one_model() -> None:
    """n > 1 is forwarded to a model that takes it, and each answer is a choice."""
    async with gateway(A) as g:
        answer = (await g.ask(model="a", n=3)).json
        assert len(g.providers[0].received) == 1
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"Good morning"}


async def test_a_panel_gets_defaults_and_a_single_model_none() -> None:
    """temperature 0.5 and max_tokens 200 stand in for what the client did not say to a panel, and nowhere else."""
    async with gateway(A, B) as g:
        await g.ask()
        await g.ask(temperature=1.5, max_completion_tokens=9)
        await g.ask(model="a")
        first, second, single = (received.body for received in g.providers[0].received)
    assert (first["temperature"], first["max_tokens"]) == (0.5, 200)
    assert (second["temperature"], second["max_completion_tokens"], "max_tokens" in second) == (1.5, 9, False)
    assert not {"temperature", "max_tokens"} & single.keys()


async def test_a_rows_defaults_go_before_the_panels() -> None:
    """The client's word comes first, then the row's, then the panel's; max_tokens has two names."""
    more = {"b": "defaults = { temperature = 1.1, max_completion_tokens = 7 }"}
    async with gateway(A, B, more=more) as g:
        await g.ask()
        await g.ask(temperature=0.1, max_tokens=5)
        first, second = (received.body for received in g.providers[1].received)
    assert (first["temperature"], first["max_completion_tokens"], "max_tokens" in first) == (1.1, 7, False)
    assert (second["temperature"], second["max_tokens"], "max_completion_tokens" in second) == (0.1, 5, False)


async def test_a_panel_of_one_is_still_a_panel() -> None:
    """The omnibus answers in sections however many upstreams are switched on, so its shape never depends on that."""
    async with gateway(A) as g:
        answer = (await g.ask()).json
    assert answer["choices"][0]["message"]["content"] == "--- [Provider A (a)] ---\nGood morning"


async def test_panel_defaults_may_be_empty() -> None:
    """Empty settings leave both to the provider."""
    async with gateway(A, B, PANEL_TEMPERATURE="", PANEL_MAX_TOKENS="") as g:
        await g.ask()
        assert not {"temperature", "max_tokens"} & g.providers[0].received[0].body.keys()


async def test_the_whole_conversation_and_unknown_fields_are_forwarded() -> None:
    """System turn, history and a field that only the upstream knows arrive as they were sent."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": [{"type": "text", "text": "Three?"}]},
    ]
    async with gateway(A) as g:
        await g.ask(model="a", messages=messages, min_p=0.1, seed=None)
        body = g.providers[0].received[0].body
    assert body == {"model": "a", "messages": messages, "min_p": 0.1}


@pytest.mark.parametrize(
    ("code", "expected", "kind", "machine_code"),
    [
        (400, 400, "invalid_request_error", None),
        (401, 502, "server_error", None),
        (402, 502, "server_error", None),
        (403, 502, "server_error", None),
        (404, 404, "invalid_request_error", "model_not_found"),
        (410, 404, "invalid_request_error", "model_not_found"),
        (408, 504, "server_error", "timeout"),
        (422, 400, "invalid_request_error", None),
        (429, 429, "rate_limit_error", "rate_limit_exceeded"),
        (500, 502, "server_error", None),
        (503, 503, "service_unavailable_error", None),
        (504, 504, "server_error", "timeout"),
    ],
)
async def test_the_status_when_all_fail_alike(code: int, expected: int, kind: str, machine_code: str | None) -> None:
    """When every upstream fails with the same status, the client gets its counterpart, and no SDK repeats the fan-out."""
    async with gateway(status(code), status(code), RETRIES="0") as g:
        exchange = await g.ask()
    assert exchange.status == expected
    error = exchange.json["error"]
    assert (error["type"], error["code"], error["param"]) == (kind, machine_code, None)
    assert error["message"].startswith("All 2 upstreams failed: a = ")
    assert exchange.answer_headers["x-should-retry"] == "false"


async def test_retry_after_is_the_longest_that_an_upstream_asked_for() -> None:
    """All rate limited: retry-after is the longest, but no more than SDKs are willing to wait."""
    async with gateway(status(429, retry_after=7), status(429, retry_after=9), RETRIES="0") as g:
        assert (await g.ask()).answer_headers["retry-after"] == "9"
    async with gateway(status(429, retry_after=4000), RETRIES="0") as g:
        assert (await g.ask()).answer_headers["retry-after"] == "120"


async def test_different_failures_are_a_503_when_trying_again_may_help() -> None:
    """A panel of which one was only rate limited is worth another try; of which none was, is not."""
    async with gateway(status(401), status(429), RETRIES="0") as g:
        assert (await g.ask()).status == 503
    async with gateway(status(401), status(404), RETRIES="0") as g:
        assert (await g.ask()).status == 502


async def test_an_upstream_that_is_not_there_fails_in_a_word() -> None:
    """A refused connection is told without address or exception."""
    with refused() as url:
        async with gateway(url, RETRIES="0") as g:
            exchange = await g.ask()
    assert exchange.status == 502
    assert exchange.json["error"]["message"] == "Request failed: a = could not connect"
