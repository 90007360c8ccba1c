"""The fake providers refuse what the real ones refuse, with their status and in their shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.every_dialect import WIRES
from tests.providers import ai21_wire, cohere_wire, mistral_wire, openai_wire
from tests.providers.raw_client import MODELS
from tests.providers.turns import Received, Wire
from upstreams.roster import DIALECTS

USER: dict[str, Any] = {"role": "user", "content": "What is the weather?"}
CALL: dict[str, Any] = {"id": "g6fVbXS8K", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "g6fVbXS8K", "content": "rain"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells.", "parameters": {"type": "object"}},
}
PARTS = [{"type": "text", "text": "What is the weather?"}]
IMAGE = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]

EACH_WIRE = pytest.mark.parametrize("wire", MODELS, ids=lambda wire: wire.__name__.rpartition(".")[2])


def ask(wire: Wire, authorization: str | None = "Bearer test-token", **members: Any) -> Received:
    headers = {} if authorization is None else {"authorization": authorization}
    return Received("POST", wire.PATH, headers, {"model": MODELS[wire], "messages": [USER], **members})


def refused(wire: Wire, **members: Any) -> tuple[int, Any]:
    refusal = wire.refuse(ask(wire, **members))
    assert refusal is not None
    return refusal


@EACH_WIRE
def test_a_plain_request_is_taken(wire: Wire) -> None:
    """A model, a message and a token are enough."""
    assert wire.refuse(ask(wire)) is None
    assert wire.refuse(ask(wire, stream=True)) is None


@pytest.mark.parametrize(
    ("wire", "members"),
    [
        (cohere_wire, {"messages": [USER, {**CALLING, "content": None}, RESULT, USER]}),
        (cohere_wire, {"messages": [{"role": "user", "content": PARTS}], "frequency_penalty": None, "p": 0.99}),
        (cohere_wire, {"model": "command-a-03-2025", "tools": [TOOL], "tool_choice": "REQUIRED"}),
        (cohere_wire, {"model": "command-a-vision-07-2025", "messages": [{"role": "user", "content": IMAGE}]}),
        (mistral_wire, {"messages": [USER, {**CALLING, "content": ""}, RESULT]}),
        (mistral_wire, {"messages": [USER, {"role": "assistant", "content": "It is", "prefix": True}]}),
        (mistral_wire, {"messages": [USER, CALLING, {**RESULT, "name": "weather"}], "tools": [TOOL], "tool_choice": "any"}),
        (mistral_wire, {"stop": None, "presence_penalty": None, "temperature": 1.5, "random_seed": 7, "n": 2}),
        (ai21_wire, {"messages": [USER, {**CALLING, "content": None}, RESULT], "tools": [TOOL]}),
        (ai21_wire, {"n": 3, "temperature": 0.5, "max_tokens": 4096, "response_format": {"type": "json_object"}}),
        (openai_wire, {"stream": True, "stream_options": {"include_usage": True}, "field_of_a_compatible_server": 1}),
    ],
)
def test_what_a_provider_takes_is_taken(wire: Wire, members: dict[str, Any]) -> None:
    """Strictness goes no further than the provider's own."""
    assert wire.refuse(ask(wire, **members)) is None


@EACH_WIRE
@pytest.mark.parametrize("authorization", [None, "", "Bearer ", "Basic dGVzdDp0ZXN0", "Bearer wrong-token"])
def test_a_missing_or_wrong_token_is_401(wire: Wire, authorization: str | None) -> None:
    """Each provider says 401 in its own shape."""
    status, payload = refused(wire, authorization=authorization)

    assert status == 401
    assert payload.keys() == wire.error(401, "").keys()


@EACH_WIRE
def test_a_body_that_is_no_object_is_refused(wire: Wire) -> None:
    """What is no JSON object is the client's fault."""
    refusal = wire.refuse(Received("POST", wire.PATH, {"authorization": "Bearer test-token"}, None))

    assert refusal is not None
    assert refusal[0] in (400, 422)


@pytest.mark.parametrize(
    ("wire", "status", "words"),
    [
        (openai_wire, 404, "The model `no-such-model` does not exist or you do not have access to it."),
        (cohere_wire, 404, "model 'no-such-model' not found, make sure the correct model ID was used."),
        (mistral_wire, 400, "Invalid model: no-such-model"),
        (ai21_wire, 422, "The provided model is not supported. See the list of models in the documentation."),
    ],
)
def test_an_unknown_model_is_refused(wire: Wire, status: int, words: str) -> None:
    """Four providers have three statuses for it."""
    assert (status, words) == (refused(wire, model="no-such-model")[0], words_of(refused(wire, model="no-such-model")[1]))


EXTRA = {
    "top level": {"stream_options": {"include_usage": True}},
    "message": {"messages": [{**USER, "name": "Ann"}]},
    "tool call": {"messages": [USER, {"role": "assistant", "tool_calls": [{**CALL, "extra": 1}]}, RESULT]},
    "function of a call": {
        "messages": [USER, {"role": "assistant", "tool_calls": [{**CALL, "function": {**CALL["function"], "x": 1}}]}, RESULT]
    },
    "tool": {"tools": [{**TOOL, "extra": 1}]},
    "role": {"messages": [{"role": "developer", "content": "Be brief."}]},
    "reasoning in the history": {"messages": [USER, {"role": "assistant", "content": "a", "reasoning_content": "b"}, USER]},
    "response format": {"response_format": {"type": "json_object", "extra": 1}},
}


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if DIALECTS[name].PARAMETERS])
@pytest.mark.parametrize("members", EXTRA.values(), ids=EXTRA)
def test_an_unknown_key_is_422_at_any_depth(dialect: str, members: dict[str, Any]) -> None:
    """A field that only OpenAI knows is refused wherever it stands."""
    assert refused(WIRES[dialect], **members)[0] == 422


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        ({"temperature": 1.5}, 400, "invalid request: temperature must be between 0 and 1.0 inclusive."),
        ({"presence_penalty": -1}, 400, "invalid request: presence_penalty must be between 0 and 1.0 inclusive."),
        ({"p": 1}, 400, "invalid request: p must be between 0.01 and 0.99 inclusive."),
        ({"seed": -1}, 400, "seed"),
        ({"stop_sequences": list("abcdef")}, 400, "stop_sequences"),
        ({"tools": [{"type": "function", "function": {**TOOL["function"], "strict": True}}]}, 422, "'strict'"),
        ({"max_completion_tokens": 9}, 422, "unknown field: parameter 'max_completion_tokens' is not a valid field."),
        ({"tools": [{"type": "function", "function": {"name": "get-weather", "parameters": {}}}]}, 400, "underscores"),
        ({"tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "array"}}}]}, 400, "type object"),
        ({"tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}]}, 400, "a description or an input"),
        (
            {"tools": [{"type": "function", "function": {"name": "now", "parameters": {"properties": {"zone": {}}}}}]},
            400,
            "every property",
        ),
        ({"tools": [TOOL], "strict_tools": True}, 400, "required parameter"),
        ({"model": "command-a-03-2025", "tools": [TOOL], "tool_choice": "auto"}, 422, "REQUIRED"),
        ({"tools": [TOOL], "tool_choice": "REQUIRED"}, 400, "tool_choice is not supported"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, 400, "together with tools"),
        ({"messages": []}, 400, "messages must not be empty"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "must not be empty"),
        ({"messages": [USER, {"role": "system", "content": "Be brief."}]}, 400, "at the start"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, 400, "image"),
        ({"messages": [USER, CALLING, {"role": "tool", "content": "rain"}]}, 400, "must have a tool_call_id"),
        ({"messages": [USER, CALLING, {**RESULT, "tool_call_id": "other"}]}, 400, "not found in previous tool calls"),
        ({"messages": [USER, {**CALLING, "tool_calls": [CALL, CALL]}, RESULT]}, 400, "duplicate"),
        ({"messages": [USER, {**CALLING, "tool_calls": [{**CALL, "type": "x"}]}, RESULT]}, 400, "type must be function"),
        ({"model": "command-a-03-2025", "messages": [USER, {**CALLING, "tool_plan": "I look"}, RESULT]}, 400, "tool_plan"),
        ({"model": "command-a-03-2025", "messages": [USER, CALLING, USER]}, 400, "followed by a tool message"),
    ],
)
def test_cohere_refuses(members: dict[str, Any], status: int, words: str) -> None:
    """Cohere does not clamp what is beyond its ranges, and checks the turns of a conversation."""
    found, payload = refused(cohere_wire, **members)

    assert (status, {"id", "message"}) == (found, payload.keys())
    assert words in payload["message"]


@pytest.mark.parametrize(
    ("members", "status", "kind", "code", "words"),
    [
        ({"messages": [USER, {**CALLING, "tool_calls": [{**CALL, "id": "call_1"}]}, {**RESULT, "tool_call_id": "call_1"}]},
         400, "invalid_function_call", "3280", "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."),
        ({"messages": [USER, CALLING, RESULT, USER]},
         400, "invalid_request_message_order", "3230", "Unexpected role 'user' after role 'tool'"),
        ({"messages": [USER, RESULT]},
         400, "invalid_request_message_order", "3230", "Not the same number of function calls and responses"),
        ({"messages": [USER, {"role": "assistant", "content": "Rain."}]},
         400, "invalid_request_error", None,
         "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant"),
    ],
)  # fmt: skip
def test_mistral_refuses_conversations(members: dict[str, Any], status: int, kind: str, code: str | None, words: str) -> None:
    """Mistral wants nine-character tool ids, an answer to every call, and its order of roles."""
    expected = {"object": "error", "message": words, "type": kind, "param": None, "code": code, "raw_status_code": status}

    assert (status, expected) == refused(mistral_wire, **members)


@pytest.mark.parametrize(
    ("members", "kind", "place"),
    [
        ({"max_completion_tokens": 32_000}, "extra_forbidden", ["max_completion_tokens"]),
        ({"stream_options": {"include_usage": True}}, "extra_forbidden", ["stream_options"]),
        ({"messages": [{**USER, "name": "Ann"}]}, "extra_forbidden", ["messages", 0, "name"]),
        ({"temperature": 2}, "value_error", ["temperature"]),
        ({"top_p": 0}, "value_error", ["top_p"]),
        ({"tool_choice": "sometimes"}, "literal_error", ["tool_choice"]),
        ({"tools": []}, "too_short", ["tools"]),
        ({"tools": [{"type": "function", "function": {"name": "now"}}]}, "missing", ["tools", 0, "function", "parameters"]),
        ({"messages": []}, "missing", ["messages"]),
    ],
)
def test_mistral_validates(members: dict[str, Any], kind: str, place: list[Any]) -> None:
    """The `message` of Mistral's 422 is an object that says where the fault is."""
    status, payload = refused(mistral_wire, **members)
    (detail,) = payload["message"]["detail"]

    assert status == 422
    assert (kind, ["body", *place]) == (detail["type"], detail["loc"])


def test_mistral_shows_what_was_too_much() -> None:
    """The body of the 422 is the one that people quote."""
    expected = {
        "type": "extra_forbidden",
        "loc": ["body", "max_completion_tokens"],
        "msg": "Extra inputs are not permitted",
        "input": 32_000,
    }

    assert [expected] == refused(mistral_wire, max_completion_tokens=32_000)[1]["message"]["detail"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"messages": [USER, USER]}, "must alternate"),
        ({"messages": [USER, {"role": "system", "content": "Be brief."}]}, "must be the first"),
        ({"stream": True, "n": 2}, "when streaming"),
        ({"stream": True, "tools": [TOOL]}, "when tools are given"),
        ({"n": 2, "temperature": 0}, "above 0"),
        ({"top_p": 0}, "between"),
        ({"max_tokens": 5000}, "between"),
        ({"response_format": {"type": "json_schema"}}, "unexpected value"),
    ],
)
def test_ai21_refuses(members: dict[str, Any], words: str) -> None:
    """AI21 checks its ranges and the order of roles."""
    status, payload = refused(ai21_wire, **members)

    assert status == 422
    assert words in str(payload["detail"])


def test_ai21_refuses_parts() -> None:
    """Content in parts is a list of one validation error, as quoted."""
    expected = [
        {"loc": ["body", "messages", 0, "UserMessage", "content"], "msg": "str type expected", "type": "type_error.str"}
    ]

    assert (422, {"detail": expected}) == refused(ai21_wire, messages=[{"role": "user", "content": PARTS}])


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": "much"}, "top_p"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_openai_refuses(members: dict[str, Any], param: str) -> None:
    """OpenAI names the parameter in `param`, and its envelope has all four keys."""
    status, payload = refused(openai_wire, **members)

    assert status == 400
    assert {"message", "type", "param", "code"} == payload["error"].keys()
    assert param == payload["error"]["param"]


def words_of(payload: Any) -> Any:
    return payload.get("detail") or payload.get("message") or payload["error"]["message"]
