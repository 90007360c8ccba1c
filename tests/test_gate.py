"""The gate counts and refuses."""

from __future__ import annotations

import pytest

from routes.gate import Gate, GateClosed


async def test_a_place_is_refused_when_all_are_taken() -> None:
    """With one place, a second request is refused until the first has left."""
    gate = Gate(limit=1)
    with gate.enter():
        with pytest.raises(GateClosed), gate.enter():
            pass
        assert gate.in_flight == 1
    with gate.enter():
        assert gate.in_flight == 1


async def test_draining_refuses_newcomers_and_waits_for_the_rest() -> None:
    """A draining gate lets nobody in and is idle once the last has left."""
    gate = Gate(limit=9)
    with gate.enter():
        gate.drain()
        with pytest.raises(GateClosed), gate.enter():
            pass
        assert not gate.stopping.is_set()
    await gate.wait_until_idle()


async def test_stop_tells_the_running() -> None:
    """Stopping closes the gate and sets the event that running requests watch."""
    gate = Gate(limit=9)
    gate.stop()
    assert gate.draining
    assert gate.stopping.is_set()
