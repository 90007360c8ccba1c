"""Upstreams that misbehave: whatever one does, the others are whole and on time, and it costs one clean line."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.asgi import Exchange
from tests.clock import advance
from tests.gateway import Gateway, gateway
from tests.providers import faults, openai_wire
from tests.providers.faults import Fault, refused, status
from tests.providers.loopback import Loopback, Turn

FINE = Turn(text=("All", " well"))

LINES: dict[Fault, str] = {
    faults.HANG_BEFORE_HEADERS: "timed out",
    faults.HANG_BEFORE_FIRST_TOKEN: "timed out",
    faults.SILENCE: "timed out",
    faults.CLOSED_BEFORE_HEADERS: "could not connect",
    faults.CUT_IN_CHUNK: "answer broke off",
    faults.CUT_IN_CHARACTER: "answer broke off",
    faults.RESET: "answer broke off",
    faults.NO_END: "answer broke off|unreadable answer",
    faults.GARBAGE_EVENT: "unreadable answer",
    faults.ERROR_EVENT: "server error",
    faults.ERROR_OBJECT: "server error",
    faults.HTML_502: r"server error \(502\)",
    faults.WRONG_TYPE: "unreadable answer",
    faults.EMPTY_BODY: "unreadable answer",
    faults.REDIRECT: r"server error \(307\)",
    faults.BARE_CR_HEADER: "unreadable answer",
    faults.ENDLESS: "answer too large",
    faults.GZIP_BOMB: "answer too large",
    faults.HUGE_LINE: "answer too large",
    status(400): r"request rejected \(400\)",
    status(401, "Incorrect API key provided: abcd1234"): r"credentials rejected \(401\)",
    status(402): r"credentials rejected \(402\)",
    status(404): r"model not found \(404\)",
    status(410): r"model not found \(410\)",
    status(422): r"request rejected \(422\)",
    status(429, retry_after=9): r"rate limited \(429\)",
    status(429, retry_after=datetime.now(UTC) + timedelta(days=1)): r"rate limited \(429\)",
    status(500): r"server error \(500\)",
    status(503): r"service unavailable \(503\)",
}
"""Every fault, and the line that its section ends with."""

HARMLESS = (faults.WHOLE_THOUGH_STREAMED, faults.FOLDED_HEADER, faults.TWO_ANSWERS)
"""What is odd, and costs nothing."""

LIMIT = str(2**18)
"""Bytes: an endless answer ends sooner than with the default."""

SLOW = {faults.HANG_BEFORE_HEADERS, faults.HANG_BEFORE_FIRST_TOKEN, faults.SILENCE}


@asynccontextmanager
async def asked(g: Gateway, fault: Fault, *, stream: bool) -> AsyncIterator[Exchange]:
    """Ask the panel and let the time pass that the fault needs."""
    async with g.asking(stream=stream) as exchange:
        await g.providers[1].wait_for_calls(1)
        for neighbour in (g.providers[0], g.providers[2]):
            await neighbour.wait_for_calls(1)
            await neighbour.wait_until_quiet()
        if fault in SLOW:
            advance(1)
            if stream:
                await exchange.wait_until(lambda seen: seen.text().count("All well") >= 1)
            advance(60 if stream else 120)
        await exchange.wait_until(lambda seen: seen.complete)
        yield exchange


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", LINES, ids=lambda fault: fault.name)
async def test_a_fault_costs_one_line_and_harms_nobody(fault: Fault, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The neighbours' sections are whole, the failed one ends in a line without address, key or exception; one log line."""
    caplog.set_level("INFO", logger="rawbot.access")
    before = asyncio.all_tasks()
    async with gateway(FINE, fault, FINE, RETRIES="0", MAX_ANSWER_BYTES=LIMIT) as g, asked(g, fault, stream=stream) as exchange:
        pass
    assert exchange.status == 200
    text = exchange.text() if stream else exchange.json["choices"][0]["message"]["content"]
    sections = dict(re.findall(r"--- \[Provider \w \((\w)\)\] ---\n(.*?)(?=\n---|\Z)", text, re.DOTALL))
    assert sections["a"] == sections["c"] == "All well"
    assert re.fullmatch(rf"(.*\n)?Request failed: ({LINES[fault]})", sections["b"], re.DOTALL)
    report = (exchange.events[-2] if stream else exchange.json)["x_rawbot"]
    assert report["status"] == "partial"
    assert not re.search(r"://|127\.0\.0\.1|Error\b|abcd1234|test-token", str(report["results"][1]["error"]))
    assert len(caplog.records) == 1
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_what_cannot_be_reached_costs_one_line(stream: bool) -> None:
    """A refused connection and a name that does not resolve are told alike."""
    with refused() as nobody:
        async with gateway(FINE, nobody, "http://name.invalid", RETRIES="0") as g:
            exchange = await g.ask(stream=stream)
    text = exchange.text() if stream else exchange.json["choices"][0]["message"]["content"]
    assert text.count("Request failed: could not connect") == 2
    assert "All well" in text


async def test_tls_that_fails_costs_one_line() -> None:
    """A certificate that nobody trusts is a failure to connect, without its details."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Loopback(openai_wire, FINE, tls=context) as stranger, gateway(FINE, stranger.url, RETRIES="0") as g:
        answer = (await g.ask()).json
        assert not stranger.received
    assert answer["choices"][0]["message"]["content"].endswith("(b)] ---\nRequest failed: could not connect")
    assert answer["x_rawbot"]["results"][1]["error"]["message"] == "TLS failed"


@pytest.mark.parametrize("fault", LINES, ids=lambda fault: fault.name)
async def test_a_fault_alone_is_an_error_answer(fault: Fault) -> None:
    """When it is the only upstream, the client gets a status of its own and the envelope, never a 500."""
    async with gateway(fault, RETRIES="0", MAX_ANSWER_BYTES=LIMIT) as g, g.asking(model="a") as exchange:
        await g.providers[0].wait_for_calls(1)
        if fault in SLOW:
            advance(120)
        await exchange.wait_until(lambda seen: seen.complete)
    assert exchange.status in (400, 404, 429, 502, 503, 504)
    assert exchange.json["error"].keys() == {"message", "type", "param", "code"}
    assert "abcd1234" not in exchange.json["error"]["message"]


async def test_a_redirect_is_not_followed() -> None:
    """A token is not carried to wherever an answer points."""
    async with gateway(faults.REDIRECT, RETRIES="0") as g:
        await g.ask(model="a")
        assert len(g.providers[0].received) == 1


async def test_a_whole_answer_where_a_stream_was_asked_for_is_taken() -> None:
    """An upstream that does not stream is told as if it had."""
    async with gateway(faults.WHOLE_THOUGH_STREAMED) as g:
        exchange = await g.ask(model="a", stream=True)
    assert exchange.text() == "Hello world"
    assert exchange.events[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", HARMLESS, ids=lambda fault: fault.name)
async def test_an_oddity_costs_nothing(fault: Fault, stream: bool) -> None:
    """Each request gets its answer, and none the answer that lay in wait behind the one before."""
    async with gateway(fault, RETRIES="0") as g:
        for _ in range(3):
            answer = await g.ask(model="a", stream=stream)
            text = answer.text() if stream else answer.json["choices"][0]["message"]["content"]
            assert (answer.status, text) == (200, "Hello world")


def test_every_fault_is_met() -> None:
    """The gateway meets each fault that the loopback providers can play."""
    known = {fault for fault in vars(faults).values() if isinstance(fault, Fault)}
    assert known - LINES.keys() == set(HARMLESS)
