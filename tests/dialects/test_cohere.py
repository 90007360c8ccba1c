"""Cohere's words: what of OpenAI's is said how, what is dropped, and what its errors mean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.asking import CITY, HELLO, NOTHING, PICTURE, allowed, ask, call, calling, function, result
from tests.dialects.folding import PLAIN, fold
from upstreams.answer.sse import Event
from upstreams.dialects import cohere
from upstreams.values import ChatRequest, ErrorKind, Failure, Json, Text, ToolCall, Usage

OLD, NEW, REASONING = "command-r-08-2024", "command-a-03-2025", "command-a-reasoning-08-2025"
WEATHER = function("weather", description="Tells it", parameters=CITY)
NOW = function("now")
SAID_WEATHER = function("weather", description="Tells it", parameters=CITY)
SAID_NOW = function("now", description="now", parameters=NOTHING)

FIELDS: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("temperature within range", {"temperature": 0.7}, {"temperature": 0.7}, ()),
    ("temperature above 1", {"temperature": 1.8}, {"temperature": 1}, ()),
    ("top_p is p", {"top_p": 0.5}, {"p": 0.5}, ()),
    ("top_p of 0 and 1 are refused", {"top_p": 0}, {"p": 0.01}, ()),
    ("top_p of 1", {"top_p": 1}, {"p": 0.99}, ()),
    ("max_tokens", {"max_tokens": 7}, {"max_tokens": 7}, ()),
    ("max_completion_tokens is the newer name", {"max_tokens": 7, "max_completion_tokens": 9}, {"max_tokens": 9}, ()),
    ("one stop", {"stop": "x"}, {"stop_sequences": ["x"]}, ()),
    ("four stops", {"stop": ["a", "b", "c", "d"]}, {"stop_sequences": ["a", "b", "c", "d"]}, ()),
    ("no stops", {"stop": []}, {}, ()),
    ("seed", {"seed": 7}, {"seed": 7}, ()),
    ("negative seed", {"seed": -7}, {"seed": 7}, ()),
    ("negative penalty", {"frequency_penalty": -2}, {"frequency_penalty": 0}, ()),
    ("large penalty", {"presence_penalty": 1.5}, {"presence_penalty": 1}, ()),
    (
        "the larger penalty",
        {"frequency_penalty": 0.5, "presence_penalty": 0.2},
        {"frequency_penalty": 0.5},
        ("presence_penalty",),
    ),
    (
        "one penalty of zero",
        {"frequency_penalty": 0, "presence_penalty": 0.2},
        {"frequency_penalty": 0, "presence_penalty": 0.2},
        (),
    ),
    ("n is repeated by the gateway", {"n": 2}, {}, ("n",)),
    ("n of 1", {"n": 1}, {}, ()),
    ("format text", {"response_format": {"type": "text"}}, {}, ()),
    ("format JSON", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}, ()),
    (
        "format schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": CITY, "strict": True}}},
        {"response_format": {"type": "json_object", "json_schema": CITY}},
        (),
    ),
    (
        "format not beside tools",
        {"response_format": {"type": "json_object"}, "tools": [WEATHER]},
        {"tools": [SAID_WEATHER]},
        ("response_format",),
    ),
    ("logprobs", {"logprobs": True, "top_logprobs": 3}, {"logprobs": True}, ("top_logprobs",)),
    ("thinking of a model that does not", {"reasoning_effort": "high"}, {}, ("reasoning_effort",)),
    ("no tools", {"tools": [], "tool_choice": "none", "parallel_tool_calls": False}, {}, ()),
    ("tools", {"tools": [WEATHER, NOW]}, {"tools": [SAID_WEATHER, SAID_NOW]}, ()),
    (
        "strict on all that require something",
        {"tools": [function("weather", description="Tells it", parameters=CITY, strict=True)]},
        {"tools": [SAID_WEATHER], "strict_tools": True},
        (),
    ),
    (
        "strict on some",
        {"tools": [function("weather", description="Tells it", parameters=CITY, strict=True), NOW]},
        {"tools": [SAID_WEATHER, SAID_NOW]},
        ("tools.strict",),
    ),
    (
        "tools of other kinds",
        {"tools": [WEATHER, {"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [SAID_WEATHER]},
        ("tools.custom",),
    ),
    ("choice auto", {"tools": [WEATHER], "tool_choice": "auto"}, {"tools": [SAID_WEATHER]}, ()),
    ("choice none", {"tools": [WEATHER], "tool_choice": "none"}, {}, ()),
    (
        "choice required",
        {"tools": [WEATHER], "tool_choice": "required"},
        {"tools": [SAID_WEATHER], "tool_choice": "REQUIRED"},
        (),
    ),
    (
        "choice named",
        {"tools": [WEATHER, NOW], "tool_choice": function("now")},
        {"tools": [SAID_NOW], "tool_choice": "REQUIRED"},
        (),
    ),
    ("choice of an unknown name", {"tools": [WEATHER], "tool_choice": function("later")}, {}, ()),
    (
        "choice of allowed tools",
        {"tools": [WEATHER, NOW], "tool_choice": allowed("required", "weather")},
        {"tools": [SAID_WEATHER], "tool_choice": "REQUIRED"},
        (),
    ),
    (
        "one call at a time",
        {"tools": [WEATHER], "parallel_tool_calls": False},
        {"tools": [SAID_WEATHER]},
        ("parallel_tool_calls",),
    ),
    (
        "no equivalent",
        {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "logit_bias": {"1": 2}, "x_y": {}},
        {},
        ("user", "metadata", "store", "service_tier", "logit_bias", "x_y"),
    ),
    (
        "neutral values are not missed",
        {"store": False, "service_tier": "auto", "logit_bias": {}, "logprobs": False},
        {"logprobs": False},
        (),
    ),
]

MESSAGES: list[tuple[str, list[Json], list[Json], tuple[str, ...]]] = [
    (
        "an id in two turns",
        [HELLO, calling(call("a", "now")), result("a"), HELLO, calling(call("a", "now")), result("a")],
        [
            HELLO,
            {"role": "assistant", "tool_calls": [call("a", "now")]},
            result("a"),
            HELLO,
            {"role": "assistant", "tool_calls": [call("a_2", "now")]},
            result("a_2"),
        ],
        (),
    ),
    (
        "system leads, developers are system",
        [HELLO, {"role": "system", "content": "A"}, {"role": "developer", "content": [{"type": "text", "text": "B"}]}],
        [{"role": "system", "content": "A"}, {"role": "system", "content": [{"type": "text", "text": "B"}]}, HELLO],
        (),
    ),
    (
        "parts",
        [{"role": "user", "name": "bob", "content": [{"type": "text", "text": "A", "x": 1}, PICTURE, {"type": "input_audio"}]}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "A"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                ],
            }
        ],
        ("messages.name", "messages.input_audio"),
    ),
    (
        "what OpenAI's answers hold",
        [
            HELLO,
            {"role": "assistant", "content": "A", "refusal": None, "annotations": [], "audio": None, "reasoning_content": "B"},
        ],
        [HELLO, {"role": "assistant", "content": "A"}],
        ("messages.reasoning_content",),
    ),
    (
        "a refusal is what was said",
        [
            HELLO,
            {"role": "assistant", "content": None, "refusal": "No"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        ],
        [HELLO, {"role": "assistant", "content": "No"}, {"role": "assistant", "content": [{"type": "text", "text": "No"}]}],
        (),
    ),
    (
        "calls and results",
        [
            HELLO,
            calling(call("call_1", "weather", {"city": "Lima"}), call("call_2", "now", "")),
            result("call_1", name="weather"),
            result("call_2", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        ],
        [
            HELLO,
            {"role": "assistant", "tool_calls": [call("call_1", "weather", '{"city":"Lima"}'), call("call_2", "now")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "15 °C"},
            {"role": "tool", "tool_call_id": "call_2", "content": "a\nb"},
        ],
        ("messages.name",),
    ),
    ("a result without words", [HELLO, result("call_1", None)], [HELLO, result("call_1", "")], ()),
    (
        "nothing said",
        [HELLO, {"role": "assistant", "content": ""}, {"role": "system", "content": []}, {"role": "function", "content": "x"}],
        [HELLO],
        ("messages.function",),
    ),
]


@pytest.mark.parametrize(("fields", "said", "dropped"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields(fields: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """A parameter is said in Cohere's words, or named as dropped."""
    outgoing = ask(cohere, NEW, **fields)

    assert outgoing.body == {"model": NEW, "messages": [HELLO], **said}
    assert outgoing.dropped == dropped


@pytest.mark.parametrize(("messages", "said", "dropped"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages(messages: list[Json], said: list[Json], dropped: tuple[str, ...]) -> None:
    """A conversation is told in Cohere's form."""
    outgoing = ask(cohere, OLD, *messages)

    assert outgoing.body == {"model": OLD, "messages": said}
    assert outgoing.dropped == dropped


def test_old_models_know_no_choice() -> None:
    """A model that does not know `tool_choice` is given the named tool alone."""
    outgoing = ask(cohere, OLD, tools=[WEATHER, NOW], tool_choice=function("now"))

    assert outgoing.body == {"model": OLD, "messages": [HELLO], "tools": [SAID_NOW]}
    assert outgoing.dropped == ("tool_choice",)


@pytest.mark.parametrize(("effort", "kind"), [("none", "disabled"), ("low", "enabled"), ("max", "enabled")])
def test_reasoning(effort: str, kind: str) -> None:
    """A reasoning model is told whether to think."""
    assert ask(cohere, REASONING, reasoning_effort=effort).body["thinking"] == {"type": kind}


def test_stream() -> None:
    """Only a stream is asked for by a word, and without options."""
    assert ask(cohere, NEW, stream=True).body["stream"] is True
    assert "stream" not in ask(cohere, NEW).body


RENAMED = ChatRequest(
    (HELLO, calling(call("call_1", "get-weather")), result("call_1"), calling(call("call_2", "2nd")), result("call_2")),
    {"tools": [function("get-weather"), function("get_weather")], "tool_choice": function("get-weather")},
)


def test_names_are_those_of_variables() -> None:
    """Tool names that Cohere refuses are replaced at every place, by names that nobody else has."""
    body = cohere.body(NEW, RENAMED).body

    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather_2"]
    assert [message["tool_calls"][0]["function"]["name"] for message in body["messages"] if "tool_calls" in message] == [
        "get_weather_2",
        "_2nd",
    ]


def test_names_come_back() -> None:
    """The client sees its own names of tools, streamed and whole."""
    made = call("get_weather_2_x", "get_weather_2")
    event = b'{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"i","function":{"name":"_2nd"}}}}}'

    context = cohere.body(NEW, RENAMED).context
    whole = fold(cohere.answer({"message": {"tool_calls": [made]}, "finish_reason": "TOOL_CALL"}, context))
    assert whole.calls == {(0, 0): ("get_weather_2_x", "get-weather", "{}")}
    assert cohere.Reader(context).read(Event(event)) == [ToolCall(0, "i", "2nd")]


def test_arguments_null_amid_a_call_stay() -> None:
    """Only at the start of a call `null` means no arguments."""
    reader = cohere.Reader(PLAIN)
    events = [
        b'{"type":"tool-call-%s","index":0,"delta":{"message":{"tool_calls":{"id":"i","function":{"name":"f","arguments":%s}}}}}'
        % (kind, arguments)
        for kind, arguments in [(b"start", b'""'), (b"delta", b'"null"'), (b"end", b'""')]
    ]

    assert [delta for event in events for delta in reader.read(Event(event))] == [
        ToolCall(0, "i", "f"),
        ToolCall(0, arguments="{}"),
    ]


def test_usage_falls_back_to_the_bill() -> None:
    """Where the real counts are missing, those on the bill are told."""
    payload = {"message": {"content": "A"}, "finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 3.0}}}

    assert cohere.answer(payload, PLAIN)[:2] == [Text("A"), Usage(prompt=3)]


FAILURES: list[tuple[int, Any, Failure]] = [
    (
        401,
        {"id": "i", "message": "Incorrect API key provided: ****abcd. See https://x.example"},
        Failure(ErrorKind.CREDENTIALS, 401, "Incorrect API key provided: … See …"),
    ),
    (401, {"message": "invalid api token"}, Failure(ErrorKind.CREDENTIALS, 401, "invalid api token")),
    (
        400,
        {"error_type": "TOO_MANY_TOKENS", "id": "i", "message": "too many tokens: size limit exceeded by 7"},
        Failure(ErrorKind.CONTEXT_LENGTH, 400, "too many tokens: size limit exceeded by 7"),
    ),
    (
        422,
        {"message": "unknown field: parameter 'strict' is not a valid field."},
        Failure(ErrorKind.BAD_REQUEST, 422, "unknown field: parameter 'strict' is not a valid field."),
    ),
    (402, {"message": "pay"}, Failure(ErrorKind.CREDENTIALS, 402, "pay")),
    (404, {"message": "model 'xyz' not found"}, Failure(ErrorKind.MODEL_NOT_FOUND, 404, "model 'xyz' not found")),
    (429, {"message": "trial key"}, Failure(ErrorKind.RATE_LIMITED, 429, "trial key")),
    (498, {"message": "blocked"}, Failure(ErrorKind.BROKEN, 498, "blocked")),
    (499, {}, Failure(ErrorKind.BROKEN, 499, "")),
    (503, {}, Failure(ErrorKind.UNAVAILABLE, 503, "Service Unavailable")),
    (504, "", Failure(ErrorKind.TIMEOUT, 504, "Gateway Timeout")),
]


@pytest.mark.parametrize(("status", "payload", "failure"), FAILURES)
def test_failures(status: int, payload: Any, failure: Failure) -> None:
    """An error answer is read in any of its shapes."""
    assert cohere.failure(status, payload) == failure
