"""Whatever an upstream sends, a dialect tells pieces, at most one usage and one end; whatever a client asks, it can be sent.

The seeds are what was found: deep nesting, numbers that no counter holds, halves of characters, lists for objects.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dialects.asking import PICTURE, allowed, call, calling, function, result
from tests.dialects.folding import PLAIN, fold, read_stream
from tests.every_dialect import EACH_DIALECT, MODELS
from upstreams.answer.sse import Event
from upstreams.lenient_json import read_json
from upstreams.roster import DIALECTS
from upstreams.values import ChatRequest, Delta, Json

briefly = settings(max_examples=100, deadline=None)

WORDS = [
    *("choices", "delta", "message", "content", "text", "thinking", "type", "tool_calls", "function", "name", "arguments"),
    *(
        "index",
        "id",
        "finish_reason",
        "usage",
        "tokens",
        "prompt_tokens",
        "input_tokens",
        "prompt_tokens_details",
        "cached_tokens",
    ),
    *(
        "error",
        "object",
        "code",
        "detail",
        "loc",
        "msg",
        "refusal",
        "reasoning_content",
        "function_call",
        "tool_plan",
        "logprobs",
    ),
    *("content-delta", "content-start", "message-start", "message-end", "tool-call-start", "tool-call-delta", "tool-call-end"),
    *("stop", "COMPLETE", "ERROR", "null", "\ud83d", "\ude42", "{}"),
]
"""Words that providers use, so that chance comes upon what they mean."""

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([-1, 0, 1, 429, 10**400]), st.floats(), st.text(max_size=3)
)
words = st.sampled_from(WORDS)
anything = st.recursive(
    st.one_of(scalars, words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, st.text(max_size=3)), inner, max_size=5)
    ),
    max_leaves=12,
)


def shape(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Return objects in which each member may be missing, right, or anything."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(member, anything) for name, member in members.items()})


texts = st.one_of(words, st.text(max_size=3))
calls = shape(id=texts, index=st.integers(-1, 2), function=shape(name=texts, arguments=texts))
messages = shape(
    content=st.one_of(
        texts, st.lists(shape(type=words, text=texts, thinking=texts), max_size=2), shape(text=texts, thinking=texts)
    ),
    tool_calls=st.one_of(calls, st.lists(calls, max_size=2)),
    tool_plan=texts,
    refusal=texts,
    function_call=shape(name=texts, arguments=texts),
)
payloads = st.one_of(
    anything,
    shape(
        choices=st.lists(
            shape(index=st.integers(-1, 2), delta=messages, message=messages, finish_reason=words, logprobs=anything),
            max_size=2,
        ),
        usage=anything,
        error=anything,
    ),
    shape(
        type=words,
        index=st.integers(-1, 2),
        delta=shape(message=messages, finish_reason=words, usage=anything),
        logprobs=anything,
    ),
    shape(message=messages, finish_reason=words, usage=anything, logprobs=anything),
)


def write(payload: Any) -> bytes:
    """Write JSON as a careless server does: half characters and numbers of any size included."""
    import json

    return json.dumps(payload).encode()


def is_serialisable(deltas: list[Delta]) -> bool:
    return bool(orjson.dumps(deltas))


@EACH_DIALECT
@given(st.lists(st.binary(max_size=40), max_size=10))
@example([b"data: [DONE]"])
@example([b"data: " + b"[" * 5000 + b"\n\n"])
@example([b'data: "\\ud83d' + b"[" * 5000 + b"\n\n"])
@example([b'data: {"a":"\\ud83d","b":' + b"[" * 600 + b"]" * 600 + b"}\n\n"])
@example([b'data: {"error":' * 400 + b"1" + b"}" * 400 + b"\n\n"])
@briefly
def test_any_bytes(dialect: str, pieces: list[bytes]) -> None:
    """Any bytes are a stream that ends once."""
    assert is_serialisable(read_stream(DIALECTS[dialect], pieces))
    fold(read_stream(DIALECTS[dialect], pieces))


@EACH_DIALECT
@given(st.lists(payloads, max_size=8))
@example([{"choices": [{"delta": {"content": "a\ud83d"}, "logprobs": {"content": [10**400]}}]}])
@example([{"choices": [{"delta": {"content": "\ud83d"}}]}, {"choices": [{"delta": {"content": "a"}, "logprobs": {"a": 1}}]}])
@example([{"choices": [{"index": 10**9, "delta": {"content": "a"}, "finish_reason": "stop"}]}])
@example([{"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 10**400, "x": "\ud83d"}}])
@example(
    [{"id": "\ud83d", "choices": [{"delta": {"tool_calls": [{"function": {"name": "\ud83d", "arguments": {"a": "\ud83d"}}}]}}]}]
)
@example(
    [{"type": "content-delta", "delta": {"message": {"content": {"text": "a\ud83d"}}}, "logprobs": {"logprobs": [10**400]}}]
)
@example([{"choices": [{"delta": {"tool_calls": [{"function": {"x": "\ud83d"}}]}}]}])
@example([{"type": [], "delta": {}}])
@briefly
def test_any_events(dialect: str, events: list[Any]) -> None:
    """Any JSON in any order is a stream that ends once, and can be sent on."""
    deltas = read_stream(DIALECTS[dialect], [b"data: " + write(event) + b"\n\n" for event in events])

    fold(deltas)
    assert is_serialisable(deltas)


@EACH_DIALECT
@given(payloads)
@example({"choices": [{"message": {"content": [{"text": [{"text": []}]}]}}]})
@example({"message": {"content": 1}, "finish_reason": [], "usage": {"tokens": {"input_tokens": 1e300}}})
@briefly
def test_any_answer(dialect: str, payload: Any) -> None:
    """Any JSON is a whole answer that ends once, and can be sent on."""
    try:
        payload = read_json(write(payload))
    except ValueError:
        return
    deltas = DIALECTS[dialect].answer(payload, PLAIN)

    fold(deltas)
    assert is_serialisable(deltas)


@EACH_DIALECT
@given(st.integers(400, 599), st.one_of(payloads, st.text()))
@example(400, {"error": {"error": {"error": {"error": {"error": {"error": {"error": {"error": {"error": "x"}}}}}}}}})
@example(422, {"detail": [{"loc": [[[]], {}, 1, "a"], "msg": "b"}] * 1000})
@briefly
def test_any_failure(dialect: str, status: int, payload: Any) -> None:
    """Any error answer is a failure with this status and a short line of words."""
    failure = DIALECTS[dialect].failure(status, payload)

    assert failure.status == status
    assert len(failure.message) <= 300
    assert "\n" not in failure.message
    assert is_serialisable([failure])


@EACH_DIALECT
def test_deep_errors(dialect: str) -> None:
    """An error as deep as the parser lets through does not exhaust the stack."""
    payload = orjson.loads(b'{"error":' * 1000 + b'[{"loc":[[1]],"msg":1}]' + b"}" * 1000)

    assert DIALECTS[dialect].failure(500, payload).status == 500
    assert DIALECTS[dialect].Reader(PLAIN).read(Event(orjson.dumps({"error": {"message": "x"}})))


optional_text = st.one_of(st.none(), st.text(max_size=5))
parts = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text, "x": 1}, st.text(max_size=5)),
        st.just(PICTURE),
        st.just({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
        st.just({"type": "refusal", "refusal": "No"}),
    ),
    max_size=3,
)
ids = st.one_of(st.sampled_from(["call_1", "abcdefghi"]), st.text(max_size=9))
names = st.sampled_from(["weather", "get-weather", "get_weather", "2nd", "a.b", "é"])
conversations = st.lists(
    st.one_of(
        st.builds(
            lambda role, content: {"role": role, "content": content, "name": "bob", "x": {"y": 1}},
            st.sampled_from(["system", "developer", "user", "assistant", "function"]),
            st.one_of(optional_text, parts),
        ),
        st.builds(lambda id, name, arguments: calling(call(id, name, arguments), refusal=None), ids, names, optional_text),
        st.builds(result, ids, st.one_of(optional_text, parts)),
    ),
    min_size=1,
    max_size=6,
).map(tuple)
tools = st.lists(
    st.one_of(
        st.builds(function, names),
        st.builds(lambda name: function(name, parameters={"type": "object"}, strict=True, x=1), names),
        st.just({"type": "custom", "custom": {"name": "c"}}),
    ),
    max_size=3,
)
choices = st.one_of(
    st.sampled_from(["auto", "none", "required"]),
    st.builds(function, names),
    st.builds(allowed, st.sampled_from(["auto", "required"]), names),
    st.just({"type": "custom", "custom": {"name": "c"}}),
)
formats = st.sampled_from(
    [
        {"type": "text"},
        {"type": "json_object", "x": 1},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "x": 1}},
        {"type": "json_schema", "json_schema": {"name": "n"}},
    ]
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "max_tokens": st.integers(1, 10**6),
        "max_completion_tokens": st.integers(1, 10**6),
        "stop": st.one_of(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=4)),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "n": st.integers(1, 128),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 20),
        "tools": tools,
        "tool_choice": choices,
        "parallel_tool_calls": st.booleans(),
        "response_format": formats,
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        "metadata": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1),
        "service_tier": st.sampled_from(["auto", "default", "flex"]),
        "prediction": st.just({"type": "content", "content": [{"type": "text", "text": "A"}]}),
        "prompt_cache_key": st.text(max_size=3),
        "user": st.text(max_size=3),
        "x_unknown": st.one_of(st.text(max_size=3), st.lists(st.integers(0, 9), max_size=2)),
    },
)
requests = st.builds(ChatRequest, conversations, fields, st.booleans())

FREE = frozenset({"parameters", "schema", "json_schema", "metadata"})
"""Keys below which the client's own words stand."""

KEYS: dict[str, str] = {
    "ai21": """
        model messages stream temperature top_p max_tokens stop n response_format tools
        role content tool_calls tool_call_id id type function name arguments description parameters
        """,
    "cohere": """
        model messages stream temperature p max_tokens stop_sequences seed frequency_penalty presence_penalty response_format
        tools strict_tools tool_choice logprobs thinking
        role content tool_calls tool_call_id id type function name arguments description parameters json_schema
        text image_url url detail
        """,
    "mistral": """
        model messages stream temperature top_p max_tokens stop random_seed n frequency_penalty presence_penalty response_format
        tools tool_choice parallel_tool_calls reasoning_effort prediction metadata prompt_cache_key service_tier
        role content tool_calls tool_call_id id type function name arguments description parameters strict json_schema schema
        text image_url url detail prefix
        """,
}
"""All keys that each provider's reference knows of what a dialect may send, at any depth; none where PARAMETERS is empty."""


def keys_in(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in keys_in(item)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for name, inner in value.items() if name not in FREE for key in keys_in(inner)}


@EACH_DIALECT
@given(requests)
@example(
    ChatRequest(
        ({"role": "user"},), {"tools": [{"type": "function"}], "tool_choice": {"type": "function", "function": {"name": []}}}
    )
)
@briefly
def test_any_request(dialect: str, request: ChatRequest) -> None:
    """Any request can be sent in any dialect, with keys that the provider knows, and stays as it was."""
    before = copy.deepcopy(request)
    outgoing = DIALECTS[dialect].body(MODELS[dialect], request)
    keys = keys_in(orjson.loads(orjson.dumps(outgoing.body)))

    assert request == before
    if DIALECTS[dialect].PARAMETERS:
        assert keys <= set(KEYS[dialect].split())
    assert len(set(outgoing.dropped)) == len(outgoing.dropped)
    assert DIALECTS[dialect].body(MODELS[dialect], request) == outgoing
    if request.parameters.get("n", 1) > 1:
        assert ("n" in outgoing.body) != ("n" in outgoing.dropped), "n is either forwarded or left to the gateway"
