"""Answers that are streamed, as a client sees them."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Any

import pytest

from tests.clock import advance, settle
from tests.gateway import gateway
from tests.providers.faults import HANG_BEFORE_FIRST_TOKEN, HANG_BEFORE_HEADERS, SILENCE, Fault, answered, status
from tests.providers.http1 import Ending, Step
from tests.providers.loopback import Call, Turn
from upstreams.values import Usage

A = Turn(text=("Good", " morning"), usage=Usage(prompt=10, completion=2))
B = Turn(text=("Bon", "jour"), usage=Usage(prompt=20, completion=3))


LOGPROBS: dict[str, Any] = {
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}]},
        }
    ]
}


def deltas(events: list[Any]) -> list[Any]:
    return [event["choices"][0]["delta"] for event in events if event != "[DONE]" and event["choices"]]


async def test_the_order_of_chunks() -> None:
    """Role, then per section heading, text and end, then the finish reason, the usage, and [DONE]; nothing else."""
    async with gateway(A, B) as g:
        exchange = await g.ask(stream=True, stream_options={"include_usage": True}, x_rawbot={"order": "strict"})
    events = exchange.events
    assert exchange.status == 200
    assert exchange.answer_headers["content-type"] == "text/event-stream; charset=utf-8"
    assert exchange.answer_headers["cache-control"] == "no-cache, no-transform"
    assert exchange.answer_headers["x-accel-buffering"] == "no"
    assert deltas(events)[0] == {"role": "assistant", "content": ""}
    kinds = ["{event} {section}".format_map(event["x_rawbot"]) if "x_rawbot" in event else "text" for event in events[1:-3]]
    assert [kind for kind, _ in groupby(kinds)] == ["start 0", "text", "end 0", "start 1", "text", "end 1"]
    assert "x_rawbot" in events[-3]
    assert events[-3]["choices"][0]["finish_reason"] == "stop"
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["total_tokens"] == 35
    assert events[-1] == "[DONE]"
    assert all(event["usage"] is None for event in events[:-2])
    assert len({(event["id"], event["created"], event["model"], event["object"]) for event in events[:-1]}) == 1


async def test_there_is_no_usage_unless_asked_for() -> None:
    """Without include_usage no chunk has a usage key outside x_rawbot."""
    async with gateway(A) as g:
        events = (await g.ask(stream=True)).events
    assert not any("usage" in event for event in events[:-1])


async def test_start_and_end_of_a_section_name_its_upstream() -> None:
    """The heading chunk names provider and model; the end chunk brings the fields of that upstream's result."""
    async with gateway(A, B) as g:
        events = (await g.ask(stream=True)).events
    marks = [event["x_rawbot"] for event in events[:-1] if "x_rawbot" in event]
    assert marks[0] == {"section": 0, "event": "start", "provider": "Provider A", "model": "a"}
    assert marks[1]["usage"]["completion_tokens"] == 2
    assert marks[1]["finish_reason"] == "stop"
    assert {"provider", "model", "first_token_ms", "duration_ms", "dropped_params"} <= marks[1].keys()


@pytest.mark.parametrize("failing", [0, 1, 2, None])
async def test_streamed_text_is_the_text_of_the_whole_answer(failing: int | None) -> None:
    """Byte for byte, when the sections keep their order: wherever an upstream fails, and when none does."""
    played: list[Any] = [A, Turn(text=()), B]
    if failing is not None:
        played[failing] = status(429)
    async with gateway(*played, RETRIES="0") as g:
        whole = (await g.ask()).json["choices"][0]["message"]["content"]
        streamed = (await g.ask(stream=True, x_rawbot={"order": "strict"})).text()
    assert streamed == whole


async def test_the_first_token_leaves_the_moment_it_arrives() -> None:
    """Each piece is at the client before the upstream has sent the next one."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}
    async with gateway(Turn(text=("one", " two"), pace=gates)) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "one")
        gates[1].set()
        await exchange.wait_until(lambda seen: seen.text() == "one two")
        assert not exchange.complete
        gates[2].set()


async def test_the_tail_is_flushed_in_one_chunk() -> None:
    """What seat b said while a was speaking leaves as one large chunk when its turn comes."""
    gate = asyncio.Event()
    talker = Turn(text=tuple("many small pieces"))
    async with gateway(Turn(text=("first",), pace={1: gate}), talker) as g, g.asking(stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text().endswith("first"))
        await g.providers[1].wait_for_calls(1)
        await g.providers[1].wait_until_quiet()
        gate.set()
        await exchange.wait_until(lambda seen: seen.complete)
        assert {"content": "many small pieces"} in deltas(exchange.events)


async def test_a_tail_is_read_at_once_when_its_turn_comes() -> None:
    """While another speaks a tail is only looked at now and then, but all that it had said is there with its heading."""
    head, tail = asyncio.Event(), asyncio.Event()
    speaks = Turn(text=("first",), pace={1: head})
    waits = Turn(text=("some", " more", " yet"), pace={1: tail, 3: asyncio.Event()})
    async with gateway(speaks, waits) as g, g.asking(stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text().endswith("first"))
        await g.providers[1].wait_for_calls(1)
        tail.set()
        head.set()
        await exchange.wait_until(lambda seen: seen.text().endswith("(b)] ---\nsome more yet"))
        exchange.leave()
        await g.providers[1].wait_until_quiet()


async def test_a_hung_head_costs_one_second_of_grace() -> None:
    """When the first of the panel is silent, the second speaks after SECTION_GRACE_MS, and the status is out at once."""
    async with gateway(HANG_BEFORE_FIRST_TOKEN, B) as g, g.asking(stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.status == 200)
        await g.providers[1].wait_until_quiet()
        assert exchange.text() == ""
        advance(1.0)
        await exchange.wait_until(lambda seen: seen.text() == "--- [Provider B (b)] ---\nBonjour")
        advance(30)
        await exchange.wait_until(lambda seen: seen.complete)
        assert exchange.text().endswith("\n--- [Provider A (a)] ---\nRequest failed: timed out")


async def test_all_failed_before_a_word_is_a_real_error() -> None:
    """The status line waits for the first word, so a panel that fails at once is an HTTP error and no stream."""
    async with gateway(status(429), status(429), RETRIES="0") as g:
        exchange = await g.ask(stream=True)
    assert exchange.status == 429
    assert exchange.json["error"]["code"] == "rate_limit_exceeded"


async def test_the_status_is_not_held_for_ever() -> None:
    """After STATUS_HOLD the stream opens, and a panel that fails later says so in the stream, before [DONE]."""
    async with gateway(HANG_BEFORE_HEADERS) as g, g.asking(stream=True) as exchange:
        await g.providers[0].wait_for_calls(1)
        advance(10)
        await exchange.wait_until(lambda seen: seen.status == 200)
        advance(20)
        await exchange.wait_until(lambda seen: seen.complete)
        error, done = exchange.events[-2:]
    assert error == {
        "error": {"message": "Request failed: a = timed out", "type": "server_error", "param": None, "code": "timeout"}
    }
    assert done == "[DONE]"


async def test_silence_is_broken_by_an_empty_delta() -> None:
    """HEARTBEAT seconds without a word bring a chunk with an empty delta, and no comment."""
    async with gateway(SILENCE) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "Hello world")
        before = len(exchange.events)
        advance(15)
        await exchange.wait_until(lambda seen: len(seen.events) > before)
        assert deltas(exchange.events[before:]) == [{}]
        advance(60)


async def test_a_section_that_breaks_off_keeps_its_text() -> None:
    """An upstream that falls silent in the middle keeps what it said, with the failure on a line of its own."""
    async with gateway(SILENCE, B) as g, g.asking(stream=True) as exchange:
        await exchange.wait_until(lambda seen: "Hello world" in seen.text())
        await g.providers[1].wait_until_quiet()
        advance(60)
        await exchange.wait_until(lambda seen: seen.complete)
    assert exchange.text() == (
        "--- [Provider A (a)] ---\nHello world\nRequest failed: timed out\n--- [Provider B (b)] ---\nBonjour"
    )
    assert exchange.events[-2]["x_rawbot"]["status"] == "partial"


async def test_the_total_deadline_keeps_what_was_said() -> None:
    """An answer that is still running at API_REQUEST_TIMEOUT is cut: its text stays, its finish reason is length."""
    endless = Turn(text=("a", "b"), pace={1: asyncio.Event()})
    async with gateway(endless, IDLE_TIMEOUT="500") as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "a")
        advance(120)
    assert exchange.events[-2]["choices"][0]["finish_reason"] == "length"


async def test_a_steady_answer_is_cut_at_the_deadline_and_not_taken_for_a_silent_one() -> None:
    """A stream that speaks until API_REQUEST_TIMEOUT ends with its text, however its silences were clocked on the way."""
    gates = {place: asyncio.Event() for place in range(12)}
    async with gateway(Turn(text=tuple("x" * 12), pace=gates)) as g, g.asking(model="a", stream=True) as exchange:
        for place in range(11):
            gates[place].set()
            await exchange.wait_until(lambda seen, said=place + 1: seen.text() == "x" * said)  # type: ignore[misc]  # bound
            advance(11.7 if place < 10 else 2)
            await settle()
        assert not exchange.complete
        advance(1.2)
        await exchange.wait_until(lambda seen: seen.complete)
    assert exchange.events[-2]["choices"][0]["finish_reason"] == "length"
    assert exchange.text() == "x" * 11


async def test_an_answer_whose_connection_breaks_after_its_end_is_whole() -> None:
    """[DONE], or a finish reason, is the end; what becomes of the connection after it changes nothing."""
    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    for ending in (b"data: [DONE]\n\n", b""):
        answer = start + b"%x\r\n%b\r\n" % (len(chunk + ending), chunk + ending)
        steps: list[Step] = [answer, Ending.CLOSE]
        broken = Fault("broken after its end", lambda wire, turn, received, steps=steps: iter(steps))  # type: ignore[misc]  # bound
        async with gateway(broken) as g:
            exchange = await g.ask(model="a", stream=True)
        assert exchange.text() == "Hi"
        assert exchange.events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_choices_open_in_order_and_index_0_stands_in_front() -> None:
    """Layout choices: every index opens in order, and each chunk of a later index carries an empty delta of index 0 first."""
    async with gateway(A, B) as g:
        exchange = await g.ask(stream=True, x_rawbot={"layout": "choices"})
    events = [event for event in exchange.events if event != "[DONE]"]
    opened = [event["choices"][-1]["index"] for event in events if event["choices"][-1]["delta"].get("role")]
    assert opened == [0, 1]
    assert all(event["choices"][0]["index"] == 0 for event in events)
    assert all(event["choices"][0]["delta"] == {} for event in events if len(event["choices"]) > 1)
    assert exchange.text(0) == "Good morning"
    assert exchange.text(1) == "Bonjour"
    finishes = [event["choices"][-1]["index"] for event in events if event["choices"][-1]["finish_reason"]]
    assert finishes == [1, 0]


async def test_a_choice_that_never_comes_is_never_opened() -> None:
    """An upstream that ignores n leaves one choice, opened and finished, and no promise of others."""
    async with gateway(Turn(text=("One",), choices=1)) as g:
        events = (await g.ask(model="a", n=3, stream=True)).events
    assert {choice["index"] for event in events[:-1] for choice in event["choices"]} == {0}
    assert events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_logprobs_of_one_model_stream_with_their_text() -> None:
    """A chunk with logprobs keeps them, and a whole answer has them too."""
    body = answered(200, LOGPROBS)
    async with gateway(body) as g:
        events = (await g.ask(model="a", logprobs=True, stream=True)).events
        whole = (await g.ask(model="a", logprobs=True)).json
    assert whole["choices"][0]["logprobs"] == LOGPROBS["choices"][0]["logprobs"]
    assert [c["logprobs"] for e in events[:-1] for c in e["choices"] if c["delta"].get("content")] == [
        LOGPROBS["choices"][0]["logprobs"]
    ]


async def test_tool_calls_stream_as_openai_streams_them() -> None:
    """id, type and name come once, in the first piece of a call; the arguments follow in theirs."""
    turn = Turn(tool_calls=(Call("call_1", "weather", ('{"city":', '"Oslo"}')),), finish="tool_calls")
    async with gateway(turn) as g:
        events = (await g.ask(model="a", stream=True)).events
    pieces = [delta["tool_calls"][0] for delta in deltas(events) if "tool_calls" in delta]
    assert [piece.get("id") for piece in pieces] == ["call_1", *[None] * (len(pieces) - 1)]
    assert pieces[0]["type"] == "function"
    assert pieces[0]["function"]["name"] == "weather"
    assert all(piece.keys() == {"index", "function"} for piece in pieces[1:])
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"city":"Oslo"}'
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_reasoning_streams_beside_the_text() -> None:
    """What a model thinks is `reasoning_content`, and no part of the text."""
    async with gateway(Turn(reasoning=("Hm", "m"), text=("Yes",))) as g:
        for model, text in (("a", "Yes"), ("rawbot-omnibus", "--- [Provider A (a)] ---\nYes")):
            exchange = await g.ask(model=model, stream=True)
            whole = (await g.ask(model=model)).json["choices"][0]["message"]
            assert "".join(delta.get("reasoning_content", "") for delta in deltas(exchange.events)) == "Hmm"
            assert exchange.text() == text
            assert (whole["reasoning_content"], whole["content"]) == ("Hmm", text)
