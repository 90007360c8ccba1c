"""JSON from strangers is read as far as it can be, or refused with ValueError and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from upstreams.lenient_json import MAX_COUNT, as_arguments, as_count, read_json, repair_surrogates

READABLE: list[tuple[bytes, Any]] = [
    (b'{"a":1}', {"a": 1}),
    (b'"\\ud83d\\ude42"', "🙂"),
    (b'"a\\ud83d"', "a\ufffd"),
    (b'"\\uDE42\\ud83d!"', "\ufffd\ufffd!"),
    (b'{"\\ud83d":["\\ud83d"]}', {"\ufffd": ["\ufffd"]}),
    (b'"\\\\ud83d"', "\\ud83d"),
]

UNREADABLE = [
    b"",
    b"[DONE]",
    b"\xff",
    b"[" * 5000 + b"]" * 5000,
    b'["\\ud83d",' + b"[" * 100_000,
    b'["\\ud83d",NaN]',
    b'["\\ud83d",' + b"9" * 5000 + b"]",
]


@pytest.mark.parametrize(("data", "value"), READABLE)
def test_readable(data: bytes, value: Any) -> None:
    """Half a character becomes U+FFFD, two halves the character."""
    assert read_json(data) == value


@pytest.mark.parametrize("data", UNREADABLE)
def test_unreadable(data: bytes) -> None:
    """What is no JSON, or too deep, is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - that it is nothing narrower is the promise
        read_json(data)


def test_too_deep_to_repair() -> None:
    """A value that exhausts the stack is refused too."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ValueError, match="nested too deeply"):
        repair_surrogates(value)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (7, 7),
        (7.9, 7),
        (-1, 0),
        (True, 0),
        ("7", 0),
        (None, 0),
        (float("nan"), 0),
        (float("inf"), MAX_COUNT),
        (10**400, MAX_COUNT),
    ],
)
def test_counts(value: Any, count: int) -> None:
    """A count is a whole number that JavaScript can hold."""
    assert as_count(value) == count


def test_arguments() -> None:
    """Arguments are a string of JSON, also where they came as an object."""
    assert as_arguments('{"a": 1}') == '{"a": 1}'
    assert as_arguments({"a": 1}) == '{"a":1}'
    assert as_arguments(None) == ""
    assert as_arguments({"a": "\ud83d"}) == ""
