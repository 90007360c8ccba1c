"""A client that leaves: whenever it does, every upstream call of its request ends at once, and no task is left."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import advance, settle
from tests.gateway import gateway
from tests.providers.faults import ENDLESS, HANG_BEFORE_FIRST_TOKEN, HANG_BEFORE_HEADERS, SILENCE, Fault
from tests.providers.loopback import Turn

MOMENTS = {
    "before the upstream's headers": HANG_BEFORE_HEADERS,
    "before the first token": HANG_BEFORE_FIRST_TOKEN,
    "in the middle of the answer": SILENCE,
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", MOMENTS.values(), ids=MOMENTS.keys())
async def test_leaving_ends_every_upstream_call(fault: Fault, stream: bool) -> None:
    """Both upstreams of the panel see their connections close, and the application returns without another message."""
    before = asyncio.all_tasks()
    async with gateway(fault, fault) as g:
        async with g.asking(stream=stream) as exchange:
            for provider in g.providers:
                await provider.wait_for_calls(1)
            if fault is SILENCE and stream:
                await exchange.wait_until(lambda seen: "Hello world" in seen.text())
            answered = len(exchange.answered)
            exchange.leave()
        for provider in g.providers:
            await provider.wait_until_quiet()
            assert provider.closed_early == 1
        assert len(exchange.answered) == answered
        assert g.gate.in_flight == 0
    assert asyncio.all_tasks() == before


async def test_leaving_while_blocked_in_send_ends_every_upstream_call() -> None:
    """A client that stops reading and then leaves is noticed while the answer is stuck in `send`."""
    async with gateway(ENDLESS) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.status == 200)
        exchange.stop_reading()
        await exchange.wait_until(lambda seen: seen.blocked)
        exchange.leave()
    await g.providers[0].wait_until_quiet()


async def test_leaving_while_a_tail_waits_unread_ends_its_call() -> None:
    """An upstream whose words are left in the kernel while another speaks is closed like any other."""
    head = Turn(text=("first",), pace={1: asyncio.Event()})
    async with gateway(head, ENDLESS) as g, g.asking(stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text().endswith("first"))
        await g.providers[1].wait_for_calls(1)
        exchange.leave()
        for provider in g.providers:
            await provider.wait_until_quiet()


async def test_a_client_that_never_reads_is_given_up() -> None:
    """A `send` that takes longer than SEND_TIMEOUT ends the call, and one that takes less does not."""
    async with gateway(ENDLESS, MAX_ANSWER_BYTES=str(2**30)) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.status == 200)
        exchange.stop_reading()
        await exchange.wait_until(lambda seen: seen.blocked)
        advance(29)
        await settle()
        assert g.providers[0].open_calls == 1
        advance(31)
        await g.providers[0].wait_until_quiet()
    assert not exchange.complete


async def test_leaving_while_the_body_is_sent_asks_nobody() -> None:
    """A client that goes away in the middle of its request costs no upstream call and gets no answer."""
    async with gateway(Turn()) as g:
        exchange = g.exchange(chunks=[b'{"messages": ', b""])
        exchange.leave(before_the_end=True)
        await exchange.run()
        assert not g.providers[0].received
    assert exchange.answered == []


async def test_a_finished_answer_is_not_taken_for_a_departure(caplog: pytest.LogCaptureFixture) -> None:
    """The disconnect that follows every answer changes nothing: the log line tells how the upstreams fared."""
    caplog.set_level("INFO", logger="rawbot.access")
    async with gateway(Turn(text=("Hi",))) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.complete)
        exchange.leave()
    assert exchange.events[-1] == "[DONE]"
    assert "upstreams=a:ok" in caplog.text
