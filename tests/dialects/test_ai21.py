"""AI21's words: what of OpenAI's is said how, what is dropped, who speaks when, and what its errors mean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.asking import CITY, HELLO, NOTHING, PICTURE, ask, call, calling, function, result
from upstreams.dialects import ai21
from upstreams.values import ErrorKind, Failure, Json

MODEL = "jamba-mini"
NOW = function("now", parameters=NOTHING)

FIELDS: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("temperature", {"temperature": 1.8}, {"temperature": 1.8}, ()),
    ("top_p", {"top_p": 0}, {"top_p": 0.001}, ()),
    ("max_tokens", {"max_tokens": 7}, {"max_tokens": 7}, ()),
    ("max_completion_tokens above 4096", {"max_completion_tokens": 9000}, {"max_tokens": 4096}, ()),
    ("stop", {"stop": ["a", "b"]}, {"stop": ["a", "b"]}, ()),
    ("n", {"n": 16}, {"n": 16}, ()),
    ("n above 16 is repeated by the gateway", {"n": 17}, {}, ("n",)),
    ("n with temperature 0 too", {"n": 2, "temperature": 0}, {"temperature": 0}, ("n",)),
    ("format JSON", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}, ()),
    ("format text", {"response_format": {"type": "text"}}, {}, ()),
    ("tools", {"tools": [function("now", strict=True)]}, {"tools": [NOW]}, ("tools.strict",)),
    ("choice none", {"tools": [NOW], "tool_choice": "none"}, {}, ()),
    ("choice required", {"tools": [NOW], "tool_choice": "required"}, {"tools": [NOW]}, ("tool_choice",)),
    ("choice named", {"tools": [function("a"), NOW], "tool_choice": function("now")}, {"tools": [NOW]}, ("tool_choice",)),
    (
        "no equivalent",
        {"seed": 1, "frequency_penalty": 1, "presence_penalty": 1, "logprobs": True, "reasoning_effort": "low", "user": "u"},
        {},
        ("seed", "frequency_penalty", "presence_penalty", "logprobs", "reasoning_effort", "user"),
    ),
    ("neutral values are not missed", {"frequency_penalty": 0, "parallel_tool_calls": True, "n": 1}, {"n": 1}, ()),
]

MESSAGES: list[tuple[str, list[Json], list[Json], tuple[str, ...]]] = [
    (
        "one system turn leads",
        [{"role": "system", "content": "A"}, HELLO, {"role": "developer", "content": "B"}],
        [{"role": "system", "content": "A\nB"}, HELLO],
        (),
    ),
    (
        "contents are strings, without pictures",
        [{"role": "user", "name": "bob", "content": [{"type": "text", "text": "A"}, PICTURE, {"type": "text", "text": "B"}]}],
        [{"role": "user", "content": "A\nB"}],
        ("messages.name", "messages.image_url"),
    ),
    (
        "neighbours are one",
        [
            HELLO,
            HELLO,
            {"role": "assistant", "content": "A"},
            {"role": "assistant", "content": "B", "tool_calls": [call("i", "f")]},
        ],
        [{"role": "user", "content": "Hello\nHello"}, {"role": "assistant", "content": "A\nB", "tool_calls": [call("i", "f")]}],
        (),
    ),
    (
        "calls of neighbours are one list",
        [HELLO, calling(call("i", "f")), calling(call("j", "g"))],
        [HELLO, {"role": "assistant", "tool_calls": [call("i", "f"), call("j", "g")]}],
        (),
    ),
    (
        "results stay apart",
        [HELLO, calling(call("i", "f"), call("j", "g")), result("i"), result("j", [{"type": "text", "text": "B"}])],
        [HELLO, {"role": "assistant", "tool_calls": [call("i", "f"), call("j", "g")]}, result("i"), result("j", "B")],
        (),
    ),
    (
        "a picture alone",
        [HELLO, {"role": "user", "content": [PICTURE]}],
        [HELLO],
        ("messages.image_url",),
    ),
]


@pytest.mark.parametrize(("fields", "said", "dropped"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields(fields: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """A parameter is said in AI21's words, or named as dropped."""
    outgoing = ask(ai21, MODEL, **fields)

    assert outgoing.body == {"model": MODEL, "messages": [HELLO], **said}
    assert outgoing.dropped == dropped


@pytest.mark.parametrize(("messages", "said", "dropped"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages(messages: list[Json], said: list[Json], dropped: tuple[str, ...]) -> None:
    """A conversation is told in AI21's form and order."""
    outgoing = ask(ai21, MODEL, *messages)

    assert outgoing.body == {"model": MODEL, "messages": said}
    assert outgoing.dropped == dropped


def test_a_schema_becomes_an_instruction() -> None:
    """A schema, which AI21 does not take, is told to the model in words."""
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    body = ask(ai21, MODEL, {"role": "system", "content": "A"}, HELLO, response_format=schema).body

    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"] == [
        {"role": "system", "content": 'A\nAnswer with a JSON object that follows this JSON schema: {"type":"object"}'},
        HELLO,
    ]


def test_streamed_answers_are_single() -> None:
    """A stream brings one answer; `n` is left to the gateway."""
    outgoing = ask(ai21, MODEL, stream=True, n=2)

    assert outgoing.body == {"model": MODEL, "messages": [HELLO], "stream": True}
    assert outgoing.dropped == ("n",)
    assert ask(ai21, MODEL, stream=True, n=1).dropped == ()


def test_tools_are_not_streamed() -> None:
    """With tools the answer is asked for in one piece, however the client wants it."""
    outgoing = ask(ai21, MODEL, stream=True, n=2, tools=[function("now", parameters=CITY)])

    assert "stream" not in outgoing.body
    assert outgoing.body["n"] == 2
    assert ask(ai21, MODEL, stream=True, tools=[NOW], tool_choice="none").body["stream"] is True


UNKNOWN_MODEL = "The provided model is not supported. See https://docs.ai21.com/models"
NOT_A_STRING = {"loc": ["body", "messages", 0, "UserMessage", "content"], "msg": "str type expected", "type": "type_error.str"}

FAILURES: list[tuple[int, Any, Failure]] = [
    (
        401,
        {"detail": "Forbidden: Bad or missing Apikey/JWT."},
        Failure(ErrorKind.CREDENTIALS, 401, "Forbidden: Bad or missing Apikey/JWT."),
    ),
    (422, {"detail": UNKNOWN_MODEL}, Failure(ErrorKind.MODEL_NOT_FOUND, 422, "The provided model is not supported. See …")),
    (
        422,
        {"detail": [NOT_A_STRING]},
        Failure(ErrorKind.BAD_REQUEST, 422, "body.messages.0.UserMessage.content: str type expected"),
    ),
    (400, {"detail": "Bad request"}, Failure(ErrorKind.BAD_REQUEST, 400, "Bad request")),
    (403, None, Failure(ErrorKind.CREDENTIALS, 403, "Forbidden")),
    (404, {"detail": "Not Found"}, Failure(ErrorKind.MODEL_NOT_FOUND, 404, "Not Found")),
    (405, {"detail": "Method Not Allowed"}, Failure(ErrorKind.BROKEN, 405, "Method Not Allowed")),
    (410, "gone for good", Failure(ErrorKind.MODEL_NOT_FOUND, 410, "gone for good")),
    (429, {}, Failure(ErrorKind.RATE_LIMITED, 429, "Too Many Requests")),
    (530, "<html>", Failure(ErrorKind.BROKEN, 530, "")),
]


@pytest.mark.parametrize(("status", "payload", "failure"), FAILURES)
def test_failures(status: int, payload: Any, failure: Failure) -> None:
    """An error answer is read in any of its shapes."""
    assert ai21.failure(status, payload) == failure
