"""Foreign words are let through without keys and addresses, and headers that ask for patience are read."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from upstreams.answer.errors import MAX_MESSAGE, read_retry_after, redact
from upstreams.dialects.protocol import Dialect
from upstreams.roster import DIALECTS
from upstreams.values import Json

SECRETS = [
    ("Incorrect API key provided: sk-proj-abc***xyz.", "Incorrect API key provided: …"),
    ("Incorrect API key provided:  **** and more", "Incorrect API key provided: … and more"),
    ("no access for Bearer abc.def", "no access for …"),
    ("api_key=abc is wrong", "… is wrong"),
    ("key 0123456789abcdef0123456789abcdef was used", "key … was used"),
    ("key AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIj was used", "key … was used"),
    ("id 550e8400-e29b-41d4-a716-446655440000", "id …"),
    ("see https://x.example/a?b=c, or www.x.example", "see … or …"),
    ("no route to api.x.example:443/v1/chat", "no route to …"),
    ("refused by 10.0.0.12:8080", "refused by …"),
    ("wss://x and\r\n\tmore", "… and more"),
    ("half \ud83d and whole \ud83d\ude42", "half \ufffd and whole 🙂"),
]

PLAIN = [
    "body.messages.0.content: str type expected",
    "model 'command-a-reasoning-08-2025' not found",
    "Prompt contains 159202 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
    "temperature must be between 0 and 1.0 inclusive.",
]


@pytest.mark.parametrize(("said", "told"), SECRETS)
def test_secrets_stay_here(said: str, told: str) -> None:
    """What looks like a key or an address is not told."""
    assert redact(said) == told


@pytest.mark.parametrize("said", PLAIN)
def test_plain_words_are_told(said: str) -> None:
    """Words that are no secret stay as they are."""
    assert redact(said) == said


@given(st.text(max_size=600))
@example("a." * 10**6)
@example("a1-" * 10**6)
@example("a" * 10**7)
@example(" " * 10**6 + "b")
@settings(max_examples=50, deadline=2000)
def test_any_words(said: str) -> None:
    """Any words become one line of bounded length, in no time."""
    told = redact(said)

    assert len(told) <= MAX_MESSAGE
    assert told == " ".join(told.split())


NOW = 1_800_000_000.0

HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "7"}, 7),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
    ({"retry-after": "Fri, 15 Jan 2027 08:00:10 GMT"}, 10),
    ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
    ({"retry-after": "-3"}, 0),
    ({"retry-after": "nan"}, 0),
    ({"retry-after": "inf"}, 86400),
    ({"retry-after": "1e300"}, 86400),
    ({"retry-after": "soon"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "Fri, 99 Foo 99999 99:99:99 GMT"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS)
def test_patience(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and dates are read, and nothing else."""
    assert read_retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
@pytest.mark.parametrize("payload", [{"message": "slow down"}, {"detail": "slow down"}])
@pytest.mark.parametrize("status", [422, 429])
def test_a_failure_keeps_the_wait(dialect: Dialect, payload: Json, status: int) -> None:
    """Whatever a dialect makes of an error, the seconds that its headers ask for are in the Failure."""
    assert dialect.failure(status, payload, 7.5).retry_after == 7.5
