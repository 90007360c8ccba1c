"""Who speaks, and when: the section machine under a clock that the test moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from panels.order import SectionOrder
from upstreams.values import Delta, ErrorKind, Failure, Finish, Text

GRACE = 1.0
STOP = Finish("stop")
BROKEN = Failure(ErrorKind.BROKEN, 500)


def said(machine: SectionOrder, *fed: tuple[float, int, Delta]) -> list[tuple[int, Delta]]:
    """Feed (time, seat, delta) and return all that was said."""
    return [spoken for now, seat, delta in fed for spoken in machine.feed(seat, delta, now)]


def test_the_head_speaks_live_and_the_tail_is_kept() -> None:
    """What seat 0 says leaves at once; what seat 1 says meanwhile leaves when seat 0 has ended."""
    machine = SectionOrder(2, "configured", GRACE, now=0)
    assert machine.feed(0, Text("a"), 0.1) == [(0, Text("a"))]
    assert machine.feed(1, Text("x"), 0.2) == []
    assert machine.feed(0, Text("b"), 0.3) == [(0, Text("b"))]
    assert machine.feed(0, STOP, 0.4) == [(0, STOP), (1, Text("x"))]
    assert machine.feed(1, Text("y"), 0.5) == [(1, Text("y"))]
    assert machine.feed(1, STOP, 0.6) == [(1, STOP)]


def test_a_slow_head_is_passed_over_when_its_grace_is_over() -> None:
    """Seat 1 has to wait for as long as the grace of seat 0, and then speaks live."""
    machine = SectionOrder(2, "configured", GRACE, now=0)
    assert machine.feed(1, Text("x"), 0.2) == []
    assert machine.wake_at == GRACE
    assert machine.tick(0.99) == []
    assert machine.tick(GRACE) == [(1, Text("x"))]
    assert machine.wake_at is None
    assert machine.feed(0, Text("a"), 1.1) == []
    assert machine.feed(1, STOP, 1.2) == [(1, STOP), (0, Text("a"))]


def test_one_that_has_finished_goes_before_one_that_has_started() -> None:
    """When the grace is over, a whole answer is told before one that still runs, whatever their places."""
    machine = SectionOrder(3, "configured", GRACE, now=0)
    assert said(machine, (0.1, 1, Text("started")), (0.2, 2, Text("whole")), (0.3, 2, STOP)) == []
    assert machine.tick(GRACE) == [(2, Text("whole")), (2, STOP)]


def test_each_boundary_has_a_grace_of_its_own() -> None:
    """The second seat's grace begins when the first has ended, not at the start."""
    machine = SectionOrder(3, "configured", GRACE, now=0)
    assert said(machine, (0.1, 0, Text("a")), (0.2, 2, Text("z"))) == [(0, Text("a"))]
    assert machine.feed(0, STOP, 5.0) == [(0, STOP)]
    assert machine.wake_at == 5.0 + GRACE
    assert machine.feed(1, Text("in time"), 5.9) == [(1, Text("in time"))]


def test_a_seat_that_was_passed_over_speaks_at_the_next_boundary() -> None:
    """A hung seat 0 does not keep seats 1 and 2 from speaking, and its late failure comes last."""
    machine = SectionOrder(3, "configured", GRACE, now=0)
    assert said(machine, (0.1, 1, Text("b")), (0.2, 1, STOP), (0.3, 2, Text("c"))) == []
    assert machine.tick(1.0) == [(1, Text("b")), (1, STOP)]
    assert machine.tick(2.0) == [(2, Text("c"))]
    assert said(machine, (3.0, 2, STOP), (30.0, 0, BROKEN)) == [(2, STOP), (0, BROKEN)]


def test_strict_waits_for_ever() -> None:
    """In strict order nobody is passed over."""
    machine = SectionOrder(2, "strict", GRACE, now=0)
    assert said(machine, (0.1, 1, Text("x")), (0.2, 1, STOP)) == []
    assert machine.wake_at is None
    assert machine.tick(1000) == []
    assert machine.feed(0, STOP, 1001) == [(0, STOP), (1, Text("x")), (1, STOP)]


def test_arrival_lets_the_first_who_speaks_go_first() -> None:
    """In the order of arrival there is no grace, and the next speaker is who spoke first of those who wait."""
    machine = SectionOrder(3, "arrival", GRACE, now=0)
    assert machine.feed(2, Text("z"), 0.1) == [(2, Text("z"))]
    assert said(machine, (0.2, 1, Text("y")), (0.3, 0, Text("x"))) == []
    assert machine.feed(2, STOP, 0.4) == [(2, STOP), (1, Text("y"))]


@given(st.data())
def test_whatever_the_interleaving_each_text_arrives_whole_and_once_in_its_own_section(data: st.DataObject) -> None:
    """For any panel, order, timing and failures: every delta is said once, in its seat's order, one seat at a time."""
    seats = data.draw(st.integers(1, 5))
    ends: st.SearchStrategy[Delta] = st.sampled_from([STOP, BROKEN])
    scripts: list[list[Delta]] = []
    for seat in range(seats):
        pieces: list[Delta] = [Text(f"{seat}.{piece}") for piece in range(data.draw(st.integers(0, 4)))]
        scripts.append([*pieces, data.draw(ends)])
    turns = data.draw(st.permutations([seat for seat, script in enumerate(scripts) for _ in script]))
    machine = SectionOrder(seats, data.draw(st.sampled_from(["configured", "arrival", "strict"])), GRACE, now=0)
    left = [iter(script) for script in scripts]
    now = 0.0
    spoken: list[tuple[int, Delta]] = []
    for seat in turns:
        now += data.draw(st.sampled_from([0.0, 0.3, 1.0, 7.0]))
        if machine.wake_at is not None and machine.wake_at <= now:
            spoken += machine.tick(machine.wake_at)
        spoken += machine.feed(seat, next(left[seat]), now)
    order = list(dict.fromkeys(seat for seat, _ in spoken))
    assert spoken == [(seat, delta) for seat in order for delta in scripts[seat]]
    assert sorted(order) == list(range(seats))
