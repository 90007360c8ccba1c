"""Deadlines, retries and the breaker towards upstreams, with the clock in the test's hands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.clock import advance, settle
from tests.gateway import gateway
from tests.providers.faults import (
    CLOSED_BEFORE_HEADERS,
    HANG_BEFORE_FIRST_TOKEN,
    HANG_BEFORE_HEADERS,
    SILENCE,
    Fault,
    refused,
    status,
)
from tests.providers.loopback import Turn
from upstreams.calling.retry import pause_before_retry
from upstreams.values import ErrorKind, Failure

FINE = Turn(text=("Fine",))


@pytest.mark.parametrize("fault", [HANG_BEFORE_HEADERS, HANG_BEFORE_FIRST_TOKEN])
async def test_a_stream_that_says_nothing_times_out(fault: Fault) -> None:
    """FIRST_TOKEN_TIMEOUT ends a streamed call that has not spoken, whether or not its headers came."""
    async with gateway(fault, STATUS_HOLD="60") as g, g.asking(model="a", stream=True) as exchange:
        await g.providers[0].wait_for_calls(1)
        advance(29)
        await settle()
        assert g.providers[0].open_calls == 1
        assert not exchange.complete
        advance(1)
        await g.providers[0].wait_until_quiet()
    assert exchange.status == 504
    assert len(g.providers[0].received) == 1


async def test_a_whole_answer_may_take_until_the_total_deadline() -> None:
    """What is not streamed is silent until it is done, so only API_REQUEST_TIMEOUT ends it."""
    async with gateway(HANG_BEFORE_HEADERS) as g, g.asking(model="a") as exchange:
        await g.providers[0].wait_for_calls(1)
        advance(119)
        await settle()
        assert g.providers[0].open_calls == 1
        assert not exchange.complete
        advance(1)
    assert exchange.status == 504


async def test_silence_between_two_pieces_times_out() -> None:
    """IDLE_TIMEOUT counts from the last piece."""
    async with gateway(SILENCE) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "Hello world")
        advance(60)
        await exchange.wait_until(lambda seen: seen.complete)
    assert exchange.events[-2]["error"]["code"] == "timeout"


@pytest.mark.parametrize("fault", [status(429), status(500), status(502), status(503), CLOSED_BEFORE_HEADERS])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_pass_is_tried_once_more(fault: Fault, stream: bool) -> None:
    """A passing fault before the first word is hidden by one repetition, at most 0.4 s later."""
    async with gateway(FINE) as g:
        [provider] = g.providers
        provider.play_once(fault)
        async with g.asking(model="a", stream=stream) as exchange:
            await provider.wait_for_calls(1)
            await provider.wait_until_quiet()
            advance(0.4)
    assert exchange.status == 200
    assert len(provider.received) == 2
    assert provider.received[0].body == provider.received[1].body


@pytest.mark.parametrize(("attempt", "least", "most"), [(0, 0.1, 0.4), (1, 0.2, 0.8), (2, 0.4, 1.6)])
def test_the_pause_before_a_repetition_is_short_and_random(attempt: int, least: float, most: float) -> None:
    """It lies between bounds that double with each repetition, so that calls which fail together do not return together."""
    pauses = [pause_before_retry(Failure(ErrorKind.BROKEN), attempt) for _ in range(20)]
    assert all(pause is not None and least <= pause <= most for pause in pauses)
    assert len(set(pauses)) > 1


async def test_a_stale_pooled_connection_is_replaced() -> None:
    """An upstream that closed its idle connections costs a repetition, and no failure."""
    async with gateway(FINE) as g:
        [provider] = g.providers
        await g.ask(model="a")
        provider.play_once(CLOSED_BEFORE_HEADERS)
        async with g.asking(model="a") as exchange:
            await provider.wait_for_calls(2)
            await provider.wait_until_quiet()
            advance(0.4)
    assert exchange.status == 200
    assert provider.connections == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 422])
async def test_what_does_not_pass_is_not_tried_again(code: int) -> None:
    """A refusal stays one: the same request would be refused again."""
    async with gateway(status(code)) as g:
        await g.ask(model="a")
        assert len(g.providers[0].received) == 1


async def test_what_was_said_is_never_repeated() -> None:
    """A failure after the first word ends the call: a repetition would say it twice."""
    async with gateway(SILENCE) as g, g.asking(model="a", stream=True) as exchange:
        await exchange.wait_until(lambda seen: seen.text() == "Hello world")
        advance(60)
    assert len(g.providers[0].received) == 1


@pytest.mark.parametrize("by_date", [False, True])
async def test_a_short_retry_after_is_honoured(by_date: bool) -> None:
    """The repetition waits as long as the upstream asked, in seconds or by date."""
    async with gateway(FINE) as g:
        [provider] = g.providers
        retry_after = datetime.now(UTC) + timedelta(seconds=4) if by_date else 3
        provider.play_once(status(429, retry_after=retry_after))
        async with g.asking(model="a") as exchange:
            await provider.wait_for_calls(1)
            await provider.wait_until_quiet()
            advance(2.5)
            await settle()
            assert len(provider.received) == 1
            advance(1.5)
    assert exchange.status == 200


async def test_a_long_retry_after_is_passed_on() -> None:
    """Nobody waits a minute: the call fails at once, and the client is told."""
    async with gateway(status(429, retry_after=60)) as g:
        exchange = await g.ask(model="a")
        assert len(g.providers[0].received) == 1
    assert exchange.answer_headers["retry-after"] == "60"


async def test_the_breaker_skips_an_upstream_after_failures_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    """After BREAKER_FAILURES failures it is not asked, /readyz and the log say so, and the others still answer."""
    with refused() as url:
        async with gateway(url, FINE, RETRIES="0", BREAKER_FAILURES="2") as g:
            for _ in range(2):
                assert (await g.ask()).json["x_rawbot"]["results"][0]["error"]["type"] == "unreachable"
            answer = (await g.ask()).json
            assert answer["x_rawbot"]["results"][0]["error"]["type"] == "skipped"
            text = answer["choices"][0]["message"]["content"]
            assert "Request failed: skipped after repeated failures\n" in text
            assert text.endswith("(b)] ---\nFine")
            ready = await g.get("/readyz")
    assert "upstream a: its breaker is open" in caplog.text
    assert ready.status == 200
    assert ready.json["upstreams"] == {"a": "open", "b": "closed"}


async def test_one_trial_closes_the_breaker_or_opens_it_again() -> None:
    """After BREAKER_SECONDS one call goes through: its failure opens the breaker for as long again, its success closes it."""
    async with gateway(status(500), RETRIES="0", BREAKER_FAILURES="1") as g:
        [provider] = g.providers
        await g.ask(model="a")
        assert (await g.ask(model="a")).status == 503
        assert len(provider.received) == 1
        assert (await g.get("/readyz")).status == 503
        advance(30)
        await g.ask(model="a")
        await g.ask(model="a")
        assert len(provider.received) == 2
        advance(30)
        provider.play(FINE)
        assert (await g.ask(model="a")).status == 200
        assert (await g.ask(model="a")).status == 200


async def test_only_one_trial_runs_at_a_time() -> None:
    """While the trial is under way, others are still skipped; a trial whose client leaves makes room for the next."""
    async with gateway(status(500), RETRIES="0", BREAKER_FAILURES="1") as g:
        [provider] = g.providers
        await g.ask(model="a")
        advance(30)
        provider.play(HANG_BEFORE_HEADERS)
        async with g.asking(model="a") as trial:
            await provider.wait_for_calls(2)
            assert (await g.ask(model="a")).json["error"]["message"] == "Request failed: a = skipped after repeated failures"
            trial.leave()
        provider.play(FINE)
        assert (await g.ask(model="a")).status == 200


async def test_the_clients_own_mistakes_do_not_open_the_breaker() -> None:
    """A request that is refused for its content says nothing against the upstream."""
    async with gateway(status(400), BREAKER_FAILURES="1") as g:
        await g.ask(model="a")
        await g.ask(model="a")
        assert len(g.providers[0].received) == 2
