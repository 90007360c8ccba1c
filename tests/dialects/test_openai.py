"""OpenAI's own words go through untouched, and its errors are read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.asking import HELLO, PICTURE, ask
from upstreams.dialects import openai
from upstreams.values import ErrorKind, Failure


def test_the_request_goes_through() -> None:
    """Messages and parameters, known or not, are sent as the client said them, and none is dropped."""
    message = {"role": "user", "name": "bob", "content": [PICTURE], "x": {"y": None}}
    outgoing = ask(openai, "m", message, n=3, temperature=2, x_y=[1])

    assert outgoing.body == {"model": "m", "messages": (message,), "n": 3, "temperature": 2, "x_y": [1]}
    assert outgoing.dropped == ()


def test_a_stream_brings_its_usage() -> None:
    """Of a stream the usage is asked for, since servers leave it out otherwise."""
    assert ask(openai, "m", stream=True).body == {
        "model": "m",
        "messages": (HELLO,),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


FAILURES: list[tuple[int, Any, Failure]] = [
    (
        400,
        {"error": {"message": "too long", "type": "invalid_request_error", "param": "m", "code": "context_length_exceeded"}},
        Failure(ErrorKind.CONTEXT_LENGTH, 400, "too long"),
    ),
    (
        400,
        {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}},
        Failure(ErrorKind.CONTEXT_LENGTH, 400, "too long"),
    ),
    (
        401,
        {"error": {"message": "Incorrect API key provided: sk-abc***xyz. You can find it at https://a.example."}},
        Failure(ErrorKind.CREDENTIALS, 401, "Incorrect API key provided: … You can find it at …"),
    ),
    (404, {"error": "model 'x' not found"}, Failure(ErrorKind.MODEL_NOT_FOUND, 404, "model 'x' not found")),
    (
        404,
        {"error": {"message": "no such model", "code": "model_not_found"}},
        Failure(ErrorKind.MODEL_NOT_FOUND, 404, "no such model"),
    ),
    (413, "too large", Failure(ErrorKind.BAD_REQUEST, 413, "too large")),
    (500, {"error": {"message": None}}, Failure(ErrorKind.BROKEN, 500, "Internal Server Error")),
    (529, [], Failure(ErrorKind.UNAVAILABLE, 529, "")),
]


@pytest.mark.parametrize(("status", "payload", "failure"), FAILURES)
def test_failures(status: int, payload: Any, failure: Failure) -> None:
    """An error answer is read in any of its shapes."""
    assert openai.failure(status, payload) == failure
