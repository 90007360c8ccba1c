"""One table of what a client may say besides text: what of it arrives at each dialect's provider, and what is named as dropped.

Through the whole gateway, to providers as strict as the real ones; the dialects' own tests go into the corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.every_dialect import EACH_DIALECT, speaking
from tests.providers.loopback import Turn
from upstreams.roster import DIALECTS

Body = dict[str, Any]

HELLO: Body = {"role": "user", "content": "Hello"}
PICTURES: list[Body] = [
    {"type": "text", "text": "What is it?"},
    {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png", "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
]
PARTS: list[Body] = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
SOUND: Body = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
CITY: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA: Body = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
INSTRUCTION = (
    "Answer with a JSON object that follows this JSON schema: "
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
)
CHATTY: list[Body] = [
    {"role": "system", "content": "Be brief.", "name": "boss"},
    {**HELLO, "name": "me"},
    {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm.", "audio": {"id": "a"}},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": None, "refusal": "No."},
    HELLO,
]
PLAIN: list[Body] = [
    {"role": "system", "content": "Be brief."},
    HELLO,
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "No."},
    HELLO,
]
STRICT: Body = {"name": "weather", "description": "…", "strict": True, "parameters": CITY}
LAX: Body = {"name": "weather", "description": "…", "parameters": CITY}


def tools(function: Body) -> list[Body]:
    return [{"type": "function", "function": function}]


def said(*messages: Body) -> Body:
    return {"messages": list(messages)}


def user(content: Any) -> Body:
    return said({"role": "user", "content": content})


@dataclass(frozen=True)
class At:
    """What arrives at one dialect, and what is dropped; the conversation is HELLO where nothing else is said of it."""

    arrives: Body
    dropped: tuple[str, ...] = ()


UNKNOWN = {"top_k": 5, "user": "me", "store": True, "logit_bias": {"1": 2}, "verbosity": "low"}
WILD = {"temperature": 1.8, "top_p": 0, "seed": -7, "max_completion_tokens": 9000, "stop": "x"}
PENALTIES = {"frequency_penalty": -1.5, "presence_penalty": 1.5}
NEUTRAL = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}, "stop": []}

CASES: Mapping[str, tuple[Body, Mapping[str, At]]] = {
    "pictures": (
        user(PICTURES),
        {
            "openai": At(user(PICTURES)),
            "cohere": At(user(PICTURES)),
            "mistral": At(user(PICTURES)),
            "ai21": At(user("What is it?"), ("messages.image_url",)),
        },
    ),
    "sound": (
        user([*PARTS, SOUND]),
        {
            "openai": At(user([*PARTS, SOUND])),
            "cohere": At(user(PARTS), ("messages.input_audio",)),
            "mistral": At(user(PARTS), ("messages.input_audio",)),
            "ai21": At(user("One.\nTwo."), ("messages.input_audio",)),
        },
    ),
    "the developer's word": (
        said({"role": "developer", "content": PARTS}, HELLO),
        {
            "openai": At(said({"role": "developer", "content": PARTS}, HELLO)),
            "cohere": At(said({"role": "system", "content": PARTS}, HELLO)),
            "mistral": At(said({"role": "system", "content": PARTS}, HELLO)),
            "ai21": At(said({"role": "system", "content": "One.\nTwo."}, HELLO)),
        },
    ),
    "the developer's word amid the conversation": (
        said(HELLO, {"role": "developer", "content": "Be brief."}, HELLO),
        {
            "openai": At(said(HELLO, {"role": "developer", "content": "Be brief."}, HELLO)),
            "cohere": At(said({"role": "system", "content": "Be brief."}, HELLO, HELLO)),
            "mistral": At(said(HELLO, {"role": "system", "content": "Be brief."}, HELLO)),
            "ai21": At(said({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello\nHello"})),
        },
    ),
    "members of messages": (
        said(*CHATTY),
        {
            "openai": At(said(*CHATTY)),
            "cohere": At(said(*PLAIN), ("messages.name", "messages.reasoning_content", "messages.audio")),
            "mistral": At(said(*PLAIN), ("messages.name", "messages.reasoning_content", "messages.audio")),
            "ai21": At(said(*PLAIN), ("messages.name", "messages.reasoning_content", "messages.audio")),
        },
    ),
    "JSON": (
        {"response_format": {"type": "json_object"}},
        {dialect: At({"response_format": {"type": "json_object"}}) for dialect in DIALECTS},
    ),
    "JSON by a schema": (
        {"response_format": SCHEMA},
        {
            "openai": At({"response_format": SCHEMA}),
            "cohere": At({"response_format": {"type": "json_object", "json_schema": CITY}}),
            "mistral": At({"response_format": SCHEMA}),
            "ai21": At({**said({"role": "system", "content": INSTRUCTION}, HELLO), "response_format": {"type": "json_object"}}),
        },
    ),
    "JSON beside tools": (
        {"response_format": SCHEMA, "tools": tools(LAX)},
        {
            "openai": At({"response_format": SCHEMA, "tools": tools(LAX)}),
            "cohere": At({"tools": tools(LAX)}, ("response_format",)),
            "mistral": At({"response_format": SCHEMA, "tools": tools(LAX)}),
            "ai21": At(
                {
                    **said({"role": "system", "content": INSTRUCTION}, HELLO),
                    "response_format": {"type": "json_object"},
                    "tools": tools(LAX),
                }
            ),
        },
    ),
    "strict tools, one at a time": (
        {"tools": tools(STRICT), "parallel_tool_calls": False},
        {
            "openai": At({"tools": tools(STRICT), "parallel_tool_calls": False}),
            "cohere": At({"tools": tools(LAX), "strict_tools": True}, ("parallel_tool_calls",)),
            "mistral": At({"tools": tools(STRICT), "parallel_tool_calls": False}),
            "ai21": At({"tools": tools(LAX)}, ("parallel_tool_calls", "tools.strict")),
        },
    ),
    "a little reasoning": (
        {"reasoning_effort": "low"},
        {
            "openai": At({"reasoning_effort": "low"}),
            "cohere": At({"thinking": {"type": "enabled"}}),
            "mistral": At({"reasoning_effort": "high"}),
            "ai21": At({}, ("reasoning_effort",)),
        },
    ),
    "no reasoning": (
        {"reasoning_effort": "none"},
        {
            "openai": At({"reasoning_effort": "none"}),
            "cohere": At({"thinking": {"type": "disabled"}}),
            "mistral": At({"reasoning_effort": "none"}),
            "ai21": At({}, ("reasoning_effort",)),
        },
    ),
    "fields that few know": (
        {**UNKNOWN, "metadata": {"a": "b"}, "service_tier": "default"},
        {
            "openai": At({**UNKNOWN, "metadata": {"a": "b"}, "service_tier": "default"}),
            "cohere": At({}, (*UNKNOWN, "metadata", "service_tier")),
            "mistral": At({"metadata": {"a": "b"}, "service_tier": "standard_only"}, tuple(UNKNOWN)),
            "ai21": At({}, (*UNKNOWN, "metadata", "service_tier")),
        },
    ),
    "values beyond the ranges": (
        WILD,
        {
            "openai": At(WILD),
            "cohere": At({"temperature": 1, "p": 0.01, "seed": 7, "max_tokens": 9000, "stop_sequences": ["x"]}),
            "mistral": At({"temperature": 1.5, "top_p": 0.001, "random_seed": 7, "max_tokens": 9000, "stop": ["x"]}),
            "ai21": At({"temperature": 1.8, "top_p": 0.001, "max_tokens": 4096, "stop": ["x"]}, ("seed",)),
        },
    ),
    "penalties": (
        PENALTIES,
        {
            "openai": At(PENALTIES),
            "cohere": At({"frequency_penalty": 0, "presence_penalty": 1}),
            "mistral": At(PENALTIES),
            "ai21": At({}, tuple(PENALTIES)),
        },
    ),
    "probabilities": (
        {"logprobs": True, "top_logprobs": 2},
        {
            "openai": At({"logprobs": True, "top_logprobs": 2}),
            "cohere": At({"logprobs": True}, ("top_logprobs",)),
            "mistral": At({}, ("logprobs", "top_logprobs")),
            "ai21": At({}, ("logprobs", "top_logprobs")),
        },
    ),
    "what happens anyway": (
        NEUTRAL,
        {
            "openai": At(NEUTRAL),
            "cohere": At({}),
            "mistral": At({"response_format": {"type": "text"}}),
            "ai21": At({}),
        },
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@EACH_DIALECT
@pytest.mark.parametrize("case", CASES)
async def test_a_field_arrives_or_is_named(case: str, dialect: str, stream: bool) -> None:
    """A provider gets what it takes, in its own words and nothing else, and the client learns what was left out."""
    asked, at = CASES[case]
    async with speaking(dialect, Turn(text=("Fine.",))) as (provider, g):
        answer = await g.ask(model=dialect, **asked, stream=stream)
    assert answer.status == 200, answer.json

    body = {
        name: value for name, value in provider.received[0].body.items() if name not in ("model", "stream", "stream_options")
    }
    expected = {**said(HELLO), **at[dialect].arrives}
    report = next(event["x_rawbot"] for event in answer.events if "x_rawbot" in event) if stream else answer.json["x_rawbot"]
    assert body == expected
    assert tuple(report["results"][0]["dropped_params"]) == at[dialect].dropped
