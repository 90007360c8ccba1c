"""The gate counts and refuses."""

from __future__ import annotations

import pytest

from gate import Gate, GateClosed


async def test_a_place_is_refused_when_all_are_taken() -> None:
    """With one place, a second request is refused until the first has left."""
    gate = Gate(limit=1)
    with gate.enter(lambda: None):
        with pytest.raises(GateClosed), gate.enter(lambda: None):
            pass
        assert gate.in_flight == 1
    with gate.enter(lambda: None):
        assert gate.in_flight == 1


async def test_draining_refuses_newcomers_and_waits_for_the_rest() -> None:
    """A draining gate lets nobody in and is idle once the last has left."""
    gate = Gate(limit=9)
    with gate.enter(lambda: None):
        gate.drain()
        with pytest.raises(GateClosed), gate.enter(lambda: None):
            pass
    await gate.wait_until_idle()


async def test_stop_tells_the_running() -> None:
    """Stopping closes the gate and tells what runs, once, and nobody who has left."""
    gate = Gate(limit=9)
    told: list[str] = []
    with gate.enter(lambda: told.append("left")):
        pass
    with gate.enter(lambda: told.append("running")):
        gate.stop()
    assert gate.draining
    assert told == ["running"]
