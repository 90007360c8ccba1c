"""Asks a dialect what it would send, and holds the words that the requests of the tests are made of."""

from __future__ import annotations

from typing import Any

from upstreams.dialects.protocol import Dialect
from upstreams.values import ChatRequest, Json, Outgoing

HELLO: Json = {"role": "user", "content": "Hello"}
PICTURE: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low", "x": 1}}
CITY: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NOTHING: Json = {"type": "object", "properties": {}}


def ask(dialect: Dialect, model: str, *messages: Json, stream: bool = False, **fields: Any) -> Outgoing:
    return dialect.body(model, ChatRequest(messages or (HELLO,), fields, stream))


def function(name: str, **members: Any) -> Json:
    return {"type": "function", "function": {"name": name, **members}}


def call(id: str, name: str, arguments: Any = "{}") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Json, **members: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **members}


def result(id: str, content: Any = "15 °C", **members: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **members}


def allowed(mode: str, *names: str) -> Json:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [function(name) for name in names]}}
