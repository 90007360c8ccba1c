"""Mistral's words: what of OpenAI's is said how, what is dropped, its order of roles, its ids, and what its errors mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dialects.asking import CITY, HELLO, NOTHING, PICTURE, allowed, ask, call, calling, function, result
from tests.dialects.folding import fold, read_stream
from upstreams.dialects import mistral
from upstreams.values import ErrorKind, Failure, Json

MODEL = "mistral-small-latest"
WEATHER = function("weather", description="Tells it", parameters=CITY, strict=True)
SCHEMA = {"name": "n", "description": "d", "schema": CITY, "strict": True}

FIELDS: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("temperature within range", {"temperature": 1.2}, {"temperature": 1.2}, ()),
    ("temperature above 1.5", {"temperature": 2}, {"temperature": 1.5}, ()),
    ("top_p", {"top_p": 1}, {"top_p": 1}, ()),
    ("top_p of 0", {"top_p": 0}, {"top_p": 0.001}, ()),
    ("max_tokens", {"max_tokens": 7}, {"max_tokens": 7}, ()),
    ("max_completion_tokens", {"max_completion_tokens": 9}, {"max_tokens": 9}, ()),
    ("stop", {"stop": "x"}, {"stop": ["x"]}, ()),
    ("seed is random_seed", {"seed": -7}, {"random_seed": 7}, ()),
    ("n", {"n": 2}, {"n": 2}, ()),
    (
        "penalties",
        {"frequency_penalty": -2, "presence_penalty": 2},
        {"frequency_penalty": -2, "presence_penalty": 2},
        (),
    ),
    ("format text", {"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}, ()),
    ("format JSON", {"response_format": {"type": "json_object", "x": 1}}, {"response_format": {"type": "json_object"}}, ()),
    (
        "format schema",
        {"response_format": {"type": "json_schema", "json_schema": {**SCHEMA, "x": 1}}},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        (),
    ),
    ("format of another kind", {"response_format": {"type": "grammar"}}, {}, ("response_format",)),
    (
        "tools want parameters",
        {"tools": [WEATHER, function("now", x=1)]},
        {"tools": [WEATHER, function("now", parameters=NOTHING)]},
        (),
    ),
    ("tools of other kinds", {"tools": [WEATHER, {"type": "custom", "custom": {}}]}, {"tools": [WEATHER]}, ("tools.custom",)),
    ("no tools", {"tools": [], "tool_choice": "none", "parallel_tool_calls": True}, {}, ()),
    ("choice none", {"tools": [WEATHER], "tool_choice": "none"}, {"tools": [WEATHER], "tool_choice": "none"}, ()),
    ("choice required", {"tools": [WEATHER], "tool_choice": "required"}, {"tools": [WEATHER], "tool_choice": "required"}, ()),
    (
        "choice named",
        {"tools": [WEATHER], "tool_choice": {**function("weather", x=1), "y": 2}},
        {"tools": [WEATHER], "tool_choice": function("weather")},
        (),
    ),
    (
        "choice of allowed tools",
        {"tools": [WEATHER, function("now")], "tool_choice": allowed("auto", "weather")},
        {"tools": [WEATHER], "tool_choice": "auto"},
        (),
    ),
    (
        "choice of a custom tool",
        {"tools": [WEATHER], "tool_choice": {"type": "custom", "custom": {"name": "c"}}},
        {"tools": [WEATHER]},
        ("tool_choice",),
    ),
    (
        "one call at a time",
        {"tools": [WEATHER], "parallel_tool_calls": False},
        {"tools": [WEATHER], "parallel_tool_calls": False},
        (),
    ),
    ("little reasoning", {"reasoning_effort": "minimal"}, {"reasoning_effort": "none"}, ()),
    ("some reasoning", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}, ()),
    ("metadata", {"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}, ()),
    ("prompt_cache_key", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}, ()),
    ("service_tier default", {"service_tier": "default"}, {"service_tier": "standard_only"}, ()),
    ("service_tier flex", {"service_tier": "flex"}, {}, ("service_tier",)),
    (
        "prediction",
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "A"}], "x": 1}},
        {"prediction": {"type": "content", "content": "A"}},
        (),
    ),
    (
        "no equivalent",
        {"user": "u", "logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}, "store": True, "verbosity": "low", "x": 1},
        {},
        ("user", "logprobs", "top_logprobs", "logit_bias", "store", "verbosity", "x"),
    ),
]

SHORT = "9uPIT5nNk"
"""What becomes of the id `call_abc`."""

MESSAGES: list[tuple[str, list[Json], list[Json], tuple[str, ...]]] = [
    (
        "the system has the last word",
        [HELLO, {"role": "system", "content": "Be brief."}],
        [{"role": "system", "content": "Be brief."}, HELLO],
        (),
    ),
    ("developers are system", [{"role": "developer", "content": "A"}, HELLO], [{"role": "system", "content": "A"}, HELLO], ()),
    (
        "parts",
        [{"role": "user", "name": "bob", "content": [{"type": "text", "text": "A"}, PICTURE, {"type": "file", "file": {}}]}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "A"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                ],
            }
        ],
        ("messages.name", "messages.file"),
    ),
    (
        "bare address of an image",
        [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x.example/a.png"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}],
        (),
    ),
    (
        "calls and results",
        [
            HELLO,
            calling(call("call_abc", "weather"), refusal=None, annotations=[], audio=None),
            result("call_abc", name="weather"),
        ],
        [HELLO, {"role": "assistant", "tool_calls": [call(SHORT, "weather")]}, result(SHORT, name="weather")],
        (),
    ),
    (
        "a custom tool's calls",
        [HELLO, calling(call("abcdefghi", "now"), {"id": "c", "type": "custom", "custom": {"name": "c", "input": ""}})],
        [HELLO, {"role": "assistant", "tool_calls": [call("abcdefghi", "now")]}],
        ("messages.tool_calls.custom",),
    ),
    (
        "user after tool",
        [HELLO, calling(call("abcdefghi", "now")), result("abcdefghi"), HELLO],
        [
            HELLO,
            {"role": "assistant", "tool_calls": [call("abcdefghi", "now")]},
            result("abcdefghi"),
            {"role": "assistant", "content": "OK."},
            HELLO,
        ],
        (),
    ),
    (
        "the assistant's last word is a prefix",
        [HELLO, {"role": "assistant", "content": "It is"}],
        [HELLO, {"role": "assistant", "content": "It is", "prefix": True}],
        (),
    ),
    (
        "reasoning",
        [{"role": "assistant", "content": "A", "reasoning_content": "B"}, HELLO],
        [{"role": "assistant", "content": "A"}, HELLO],
        ("messages.reasoning_content",),
    ),
    ("nothing said", [{"role": "assistant", "content": None}], [], ()),
]


@pytest.mark.parametrize(("fields", "said", "dropped"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields(fields: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """A parameter is said in Mistral's words, or named as dropped."""
    outgoing = ask(mistral, MODEL, **fields)

    assert outgoing.body == {"model": MODEL, "messages": [HELLO], **said}
    assert outgoing.dropped == dropped


@pytest.mark.parametrize(("messages", "said", "dropped"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages(messages: list[Json], said: list[Json], dropped: tuple[str, ...]) -> None:
    """A conversation is told in Mistral's form and order."""
    outgoing = ask(mistral, MODEL, *messages)

    assert outgoing.body == {"model": MODEL, "messages": said}
    assert outgoing.dropped == dropped


def test_stream() -> None:
    """A stream is asked for without `stream_options`, which are refused."""
    assert ask(mistral, MODEL, stream=True).body == {"model": MODEL, "messages": [HELLO], "stream": True}


@given(st.lists(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9]{9}", fullmatch=True)), max_size=6))
@example(["call_abc", SHORT])
@settings(max_examples=100, deadline=None)
def test_ids(ids: list[str]) -> None:
    """Any ids become nine letters and digits, the same in call and result, different ones stay different, good ones stay."""
    messages = [message for id in ids for message in (calling(call(id, "f")), result(id))]
    said = ask(mistral, MODEL, HELLO, *messages).body["messages"]
    calls = [message["tool_calls"][0]["id"] for message in said if "tool_calls" in message]
    results = [message.get("tool_call_id", "") for message in said if message["role"] == "tool"]

    assert calls == results
    assert len(set(calls)) == len(set(ids))
    for before, after in zip(ids, calls, strict=True):
        assert re.fullmatch("[A-Za-z0-9]{9}", after) or before == ""
        assert after == before or not re.fullmatch("[A-Za-z0-9]{9}", before)


def chunk(text: str, reason: str = "null") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n' % (text.encode(), reason.encode())


BEGINNING: Json = {"role": "assistant", "content": "It is "}

ECHOES = [
    ("whole", ["It is ", "late"], "late", "late"),
    ("in pieces", ["It", " is l", "ate"], "late", "late"),
    ("without the last blank", ["It is", "late"], "late", "It islate"),
    ("without the last blank, which comes later", ["It is", " late"], "late", "late"),
    ("none", ["late"], "late", "late"),
    ("begun", ["It", " was"], "It was", "It was"),
    ("begun and over", ["It"], "It", "It"),
    ("alone", ["It is"], "", ""),
]


@pytest.mark.parametrize(("pieces", "streamed", "whole"), [row[1:] for row in ECHOES], ids=[row[0] for row in ECHOES])
def test_the_prefix_is_not_told_again(pieces: list[str], streamed: str, whole: str) -> None:
    """The beginning that the client wrote is taken from the answer."""
    context = ask(mistral, MODEL, HELLO, BEGINNING).context
    answer = {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}

    assert fold(read_stream(mistral, [*map(chunk, pieces), chunk("", '"stop"')], context)).texts.get(0, "") == streamed
    assert fold(mistral.answer(answer, context)).texts.get(0, "") == whole


def test_a_prefix_before_a_system_message_is_not_told_again() -> None:
    """A system message at the end moves to the front, so what the client began is the prefix all the same."""
    outgoing = ask(mistral, MODEL, HELLO, BEGINNING, {"role": "system", "content": "Be brief."})

    assert outgoing.body["messages"][-1] == {**BEGINNING, "prefix": True}
    assert fold(read_stream(mistral, [chunk("It is late", '"stop"')], outgoing.context)).texts == {0: "late"}


def test_other_pieces_pass_a_prefix() -> None:
    """Where the client wrote the beginning, calls of tools are told as ever."""
    context = ask(mistral, MODEL, HELLO, BEGINNING).context
    message = {"content": "It", "tool_calls": [call("abcdefghi", "now")]}

    told = fold(mistral.answer({"choices": [{"message": message, "finish_reason": "tool_calls"}]}, context))
    assert told.texts == {0: "It"}
    assert told.calls == {(0, 0): ("abcdefghi", "now", "{}")}


WRONG_ID = "Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9."
EXTRA = {
    "type": "extra_forbidden",
    "loc": ["body", "max_completion_tokens"],
    "msg": "Extra inputs are not permitted",
    "input": 1,
}

FAILURES: list[tuple[int, Any, Failure]] = [
    (401, {"detail": "Invalid API Key"}, Failure(ErrorKind.CREDENTIALS, 401, "Invalid API Key")),
    (401, {"message": "Unauthorized", "request_id": "r"}, Failure(ErrorKind.CREDENTIALS, 401, "Unauthorized")),
    (
        400,
        {"object": "error", "message": WRONG_ID, "type": "invalid_function_call", "code": "3280", "raw_status_code": 400},
        Failure(ErrorKind.BAD_REQUEST, 400, WRONG_ID),
    ),
    (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": None, "code": "1500"},
        Failure(ErrorKind.MODEL_NOT_FOUND, 400, "Invalid model: x"),
    ),
    (
        400,
        {"object": "error", "message": "Prompt contains 9 tokens", "type": "invalid_request_invalid_args", "code": "3051"},
        Failure(ErrorKind.CONTEXT_LENGTH, 400, "Prompt contains 9 tokens"),
    ),
    (
        422,
        {"object": "error", "message": {"detail": [EXTRA]}, "type": "invalid_request_error", "param": None, "code": None},
        Failure(ErrorKind.BAD_REQUEST, 422, "body.max_completion_tokens: Extra inputs are not permitted"),
    ),
    (
        422,
        {"object": "Error", "detail": [], "message": [EXTRA, {"msg": "b"}, 3], "type": "t", "code": 3001},
        Failure(ErrorKind.BAD_REQUEST, 422, "body.max_completion_tokens: Extra inputs are not permitted; b"),
    ),
    (
        429,
        {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300", "raw_status_code": 429},
        Failure(ErrorKind.RATE_LIMITED, 429, "Rate limit exceeded"),
    ),
    (429, {"message": "Requests rate limit exceeded"}, Failure(ErrorKind.RATE_LIMITED, 429, "Requests rate limit exceeded")),
    (
        429,
        {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "s", "code": "3505"},
        Failure(ErrorKind.UNAVAILABLE, 429, "Service tier capacity exceeded for this model."),
    ),
    (502, "<html>Cloudflare</html>", Failure(ErrorKind.BROKEN, 502, "Bad Gateway")),
]


@pytest.mark.parametrize(("status", "payload", "failure"), FAILURES)
def test_failures(status: int, payload: Any, failure: Failure) -> None:
    """An error answer is read in any of its shapes."""
    assert mistral.failure(status, payload) == failure
