"""Each fault is on the socket what its name says."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime

import pytest

from tests.providers import faults, openai_wire
from tests.providers.faults import Fault
from tests.providers.loopback import Loopback
from tests.providers.raw_client import MODELS, TURN, connected, played
from tests.providers.turns import Wire

WIRES = pytest.mark.parametrize("wire", MODELS, ids=lambda wire: wire.__name__.rpartition(".")[2])
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def test_refused_is_refused() -> None:
    """Nobody listens there."""
    with faults.refused() as url, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [(2, b"retry-after: 2\r\n"), (datetime(2026, 9, 1, 12, tzinfo=UTC), b"retry-after: Tue, 01 Sep 2026 12:00:00 GMT\r\n")],
)
async def test_retry_after_is_seconds_or_a_date(retry_after: float | datetime, expected: bytes) -> None:
    """Both forms of RFC 9110 §10.2.3."""
    async with Loopback(openai_wire, TURN) as provider, connected(provider) as client:
        provider.play(faults.status(503, retry_after=retry_after))
        client.ask(connection="keep-alive")

        assert expected in await client.until(b"\r\n\r\n")


@WIRES
@STREAMED
@pytest.mark.parametrize("fault", faults.HANGING, ids=lambda fault: fault.name)
async def test_a_hanging_answer_ends_with_its_client(wire: Wire, fault: Fault, stream: bool) -> None:
    """The provider says nothing more, and the call ends when the client leaves."""
    async with Loopback(wire, TURN) as provider:
        provider.play(fault)
        async with connected(provider) as client:
            client.ask(wire, stream)
            await provider.wait_for_calls(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.rest(), 0.02)
        await provider.wait_until_quiet()

        assert provider.closed_early == 1


@WIRES
@STREAMED
@pytest.mark.parametrize(
    "fault", [faults.CLOSED_BEFORE_HEADERS, faults.CUT_IN_CHUNK, faults.CUT_IN_CHARACTER], ids=lambda fault: fault.name
)
async def test_a_cut_answer_is_incomplete_to_http(wire: Wire, fault: Fault, stream: bool) -> None:
    """The connection closes before the length or the last chunk that the headers promised."""
    data = await played(wire, fault, stream)

    assert not data.endswith(b"0\r\n\r\n")
    if data and not stream:
        assert len(body_of(data)) < int(header(data, "content-length"))


@WIRES
async def test_a_cut_in_a_character_leaves_half_of_it(wire: Wire) -> None:
    """What arrived is no UTF-8, and the text before it is all there."""
    data = await played(wire, faults.CUT_IN_CHARACTER, stream=True)

    assert data.endswith(b"\xe2\r\n")
    assert "wörld".encode() in data


@WIRES
@STREAMED
async def test_a_reset_is_a_reset(wire: Wire, stream: bool) -> None:
    """The client's socket says ECONNRESET, not EOF."""
    with pytest.raises(ConnectionResetError):
        await played(wire, faults.RESET, stream)


COMPLETE_TO_HTTP = pytest.mark.parametrize(
    "fault", [faults.NO_END, faults.GARBAGE_EVENT, faults.ERROR_EVENT], ids=lambda fault: fault.name
)


@WIRES
@COMPLETE_TO_HTTP
async def test_a_broken_stream_may_be_complete_to_http(wire: Wire, fault: Fault) -> None:
    """The text arrives, HTTP ends well, and there is no good end of the answer."""
    data = await played(wire, fault, stream=True, connection="keep-alive")

    assert "wörld".encode() in data
    assert data.endswith(b"\r\n0\r\n\r\n")
    assert b'"stop"' not in data
    assert b'"COMPLETE"' not in data


@WIRES
@COMPLETE_TO_HTTP
async def test_a_broken_whole_answer_may_be_complete_to_http(wire: Wire, fault: Fault) -> None:
    """The body has its full length, and is half an answer or an error."""
    data = await played(wire, fault, stream=False, connection="keep-alive")

    assert len(body_of(data)) == int(header(data, "content-length"))
    assert not is_json(body_of(data)) or b"the provider broke down" in data


@WIRES
@STREAMED
@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        (faults.ERROR_OBJECT, 200, "application/json"),
        (faults.HTML_502, 502, "text/html; charset=UTF-8"),
        (faults.WRONG_TYPE, 200, "text/html; charset=UTF-8"),
        (faults.EMPTY_BODY, 200, "application/json"),
        (faults.WHOLE_THOUGH_STREAMED, 200, "application/json"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_strange_answers_have_a_length_and_a_type(
    wire: Wire, stream: bool, fault: Fault, status: int, content_type: str
) -> None:
    """What is not the answer is at least HTTP."""
    data = await played(wire, fault, stream, connection="keep-alive")

    assert (status, content_type) == (int(data.split()[1]), header(data, "content-type"))
    assert len(body_of(data)) == int(header(data, "content-length"))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.REDIRECT, b"\r\nlocation: /elsewhere/chat/completions\r\n"),
        (faults.BARE_CR_HEADER, b"\r\nx-note: a\rset-cookie: b=c\r\n"),
        (faults.FOLDED_HEADER, b"\r\nx-note: a\r\n b\r\n"),
        (faults.TWO_ANSWERS, b"0\r\n\r\nHTTP/1.1 200 OK\r\n"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_tricks_of_http_leave_the_socket_as_they_are(fault: Fault, expected: bytes) -> None:
    """No layer below repairs a header or a boundary."""
    assert expected in await played(openai_wire, fault, stream=True, connection="keep-alive")


@WIRES
@STREAMED
async def test_an_endless_answer_ends_with_its_client(wire: Wire, stream: bool) -> None:
    """It goes on while somebody reads, and is over when nobody does."""
    async with Loopback(wire, TURN) as provider:
        provider.play(faults.ENDLESS)
        async with connected(provider) as client:
            client.ask(wire, stream)
            await client.reader.readexactly(2**20)
        await provider.wait_until_quiet()

        assert provider.closed_early == 1


@WIRES
@STREAMED
async def test_a_bomb_is_small_on_the_wire(wire: Wire, stream: bool) -> None:
    """A hundred times less arrives than a client would have to hold."""
    bomb = body_of(await played(wire, faults.GZIP_BOMB, stream, connection="keep-alive"))

    assert len(gzip.decompress(bomb)) > max(faults.HUGE, 100 * len(bomb))


@STREAMED
async def test_a_huge_line_has_no_end(stream: bool) -> None:
    """Sixteen mebibytes arrive without a newline."""
    line = body_of(await played(openai_wire, faults.HUGE_LINE, stream, connection="keep-alive"))

    assert len(line) > faults.HUGE
    assert b"\n" not in line


def header(data: bytes, name: str) -> str:
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return next(line.partition(": ")[2] for line in lines if line.startswith(f"{name}: "))


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
