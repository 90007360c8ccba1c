"""The loopback provider keeps its pace, counts, and notices who leaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import pytest
import trustme

from tests.clock import advance
from tests.providers import faults, openai_wire
from tests.providers.faults import Fault
from tests.providers.http1 import Step
from tests.providers.loopback import Loopback, Received, Turn
from tests.providers.raw_client import TURN, connected, played
from tests.providers.turns import Wire


async def test_a_piece_leaves_when_its_gate_opens() -> None:
    """Tests decide when each piece leaves, and the end after the last one."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}
    async with Loopback(openai_wire, Turn(text=("a", "b"), pace=gates)) as provider, connected(provider) as client:
        client.ask()
        before = await client.until(b'"content":"a"')
        gates[1].set()
        then = await client.until(b'"content":"b"')
        assert provider.open_calls == 1
        gates[2].set()
        after = await client.rest()

    assert b'"content":"b"' not in before
    assert b'"finish_reason":"stop"' not in then
    assert after.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_a_whole_answer_waits_for_all_gates() -> None:
    """Where there are no pieces, all gates are in front of the answer."""
    gate = asyncio.Event()
    async with Loopback(openai_wire, Turn(text=("a",), pace={0: gate})) as provider, connected(provider) as client:
        client.ask(stream=False)
        await provider.wait_for_calls(1)
        assert provider.open_calls == 1
        gate.set()

        assert b'"content":"a"' in await client.rest()


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """A connection is kept unless the client says close, and what was played once comes first."""
    async with Loopback(openai_wire, TURN) as provider, connected(provider) as client:
        provider.play_once(Turn(text=("first",)))
        provider.play_once(faults.status(429))
        answers = []
        for end in (b"0\r\n\r\n", b"}}", b"0\r\n\r\n"):
            client.ask(connection="keep-alive")
            answers.append(await client.until(end))

        assert [answer.split()[1] for answer in answers] == [b"200", b"429", b"200"]
        assert b"first" in answers[0]
        assert (provider.connections, len(provider.received)) == (1, 3)


async def test_what_comes_early_waits_its_turn() -> None:
    """A request that is sent before the answer to the one before it is over gets its answer after it."""
    gate = asyncio.Event()
    async with Loopback(openai_wire, Turn(text=("a",), pace={0: gate})) as provider, connected(provider) as client:
        client.ask(connection="keep-alive")
        await provider.wait_for_calls(1)
        client.ask()
        await client.until(b'"role":"assistant"')
        gate.set()
        answers = await client.rest()

        assert answers.count(b"data: [DONE]") == len(provider.received) == 2


async def test_a_client_that_leaves_is_noticed_at_once() -> None:
    """A call whose client closes its socket is over, though its gate never opens."""
    async with Loopback(openai_wire, Turn(text=("a",), pace={0: asyncio.Event()})) as provider:
        async with connected(provider) as client:
            client.ask()
            await provider.wait_for_calls(1)
            assert provider.open_calls == 1
        await provider.wait_until_quiet()

        assert (provider.open_calls, provider.closed_early) == (0, 1)


async def test_waiting_in_vain_fails_with_the_numbers() -> None:
    """Who waits for a call that never comes learns how many came; the loop's clock has no part in it."""
    async with Loopback(openai_wire, TURN, patience=0.05) as provider:
        waiting = asyncio.create_task(provider.wait_for_calls(2))
        advance(3600)
        with pytest.raises(AssertionError, match=r"2 calls were to arrive: 0 arrived, 0 open after 0\.05 s"):
            await waiting


async def test_nothing_is_left_behind() -> None:
    """With the provider gone, no task of it runs, though an answer was still open."""
    before = asyncio.all_tasks()
    async with Loopback(openai_wire, TURN) as provider, connected(provider) as client:
        provider.play(faults.SILENCE)
        client.ask()
        await client.until(b"w\xc3\xb6rld")

    assert before == asyncio.all_tasks()


async def test_a_defect_of_the_fake_is_not_hidden() -> None:
    """An exception while an answer is played comes out where the provider ends."""

    def defect(wire: Wire, turn: Turn, received: Received) -> Iterator[Step]:
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"):
        await played(openai_wire, Fault("defect", defect), stream=True)


async def test_it_speaks_tls() -> None:
    """The same answers come over TLS, and a client that leaves there is noticed too."""
    authority = trustme.CA()
    server, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    async with Loopback(openai_wire, TURN, tls=server) as provider:
        assert provider.url.startswith("https://")
        async with connected(provider, trusting) as client:
            client.ask()
            assert b"[DONE]" in await client.until(b"0\r\n\r\n")
        provider.play(faults.HANG_BEFORE_HEADERS)
        async with connected(provider, trusting) as client:
            client.ask()
            await provider.wait_for_calls(2)
        await provider.wait_until_quiet()

        assert provider.closed_early == 1


@pytest.mark.parametrize(
    ("start", "status"), [("POST /elsewhere", 404), ("GET /v1/chat/completions", 405), ("POST /v1/chat/completions", 401)]
)
async def test_only_the_path_and_the_method_are_answered(start: str, status: int) -> None:
    """A request that misses the endpoint gets the provider's error, and counts as received."""
    async with Loopback(openai_wire, TURN) as provider, connected(provider) as client:
        client.writer.write(f"{start} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        answer = await client.until(b"\r\n\r\n")

        assert status == int(answer.split()[1])
        assert start == f"{provider.received[0].method} {provider.received[0].path}"
