"""What a relayed token may cost, in tasks, timers and messages; counted, for times lie on shared machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.asgi import Exchange
from tests.clock import running_loop
from tests.gateway import gateway
from tests.providers.loopback import Turn

TOKENS = 20


def has_said(count: int) -> Callable[[Exchange], bool]:
    return lambda seen: seen.text().count("x") == count


@pytest.mark.parametrize("fields", [{"model": "a"}, {}, {"x_rawbot": {"layout": "choices"}}], ids=["one", "panel", "choices"])
async def test_a_token_costs_no_task_no_timer_and_one_send(fields: dict[str, object]) -> None:
    """Between the second token and the last, nothing is made per token but the one message that carries it."""
    gates = {place: asyncio.Event() for place in range(TOKENS + 1)}
    talker = Turn(text=tuple("x" * TOKENS), pace=gates)
    async with gateway(talker, Turn(text=("y",))) as g, g.asking(stream=True, **fields) as exchange:
        if "model" not in fields:
            await g.providers[1].wait_for_calls(1)
            await g.providers[1].wait_until_quiet()
        for place in (0, 1):
            gates[place].set()
            await exchange.wait_until(has_said(place + 1))
        loop = running_loop()
        tasks, timers, messages = len(loop.tasks_made), loop.timers_set, len(exchange.answered)
        for place in range(2, TOKENS):
            gates[place].set()
            await exchange.wait_until(has_said(place + 1))
        assert len(loop.tasks_made) - tasks == 0
        assert loop.timers_set - timers == 0
        assert len(exchange.answered) - messages == TOKENS - 2
        gates[TOKENS].set()


async def test_what_is_ready_together_shares_a_send() -> None:
    """Tokens that arrive together are fewer messages to the client than tokens, each still a chunk of its own."""
    gate = asyncio.Event()
    async with gateway(Turn(text=("first", *"abcdefgh"), pace={1: gate})) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "first")
        before = len(exchange.answered)
        gate.set()
        await exchange.wait_until(lambda seen: seen.complete)
        assert len(exchange.answered) - before < 8
    deltas = [event["choices"][0]["delta"] for event in exchange.events[:-1]]
    assert [delta["content"] for delta in deltas if delta.get("content")] == ["first", *"abcdefgh"]


async def test_one_whole_answer_of_one_model_needs_one_task() -> None:
    """A request that asks one model has no fan-out: beside its own, one task watches whether the client leaves."""
    async with gateway(Turn(text=("Hi",))) as g:
        await g.ask(model="a")
        before = len(running_loop().tasks_made)
        await g.ask(model="a")
        made = running_loop().tasks_made[before:]
    # Besides those of the loopback provider, and of aiohttp, which below Python 3.12 writes a request in a task.
    assert [name for name in made if not name.startswith(("Connection.", "ClientRequest."))] == ["Client._watch"]
