"""Translates OpenAI's messages into a provider's, by a table of what each role may hold, and orders them as it demands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from upstreams.lenient_json import as_arguments, as_list, as_object, as_text
from upstreams.values import Json

Message: TypeAlias = dict[str, Any]
"""A message that was built here, so it may be built further."""

Part: TypeAlias = Callable[[Json], Any]
"""RoleRules a part of a message's content into the provider's; what is empty is left out."""

SEPARATOR = "\n"
"""What stands between parts that become one string: nobody who sends "Hello" and "World" apart means them to be one word."""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """What a provider takes of the messages of one role: the role's name there, the parts of its content, its other members.

    Without `parts` the content has to be a string. What is not in the table is never sent.
    """

    role: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    members: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)


RoleRules: TypeAlias = Mapping[str, RoleRule]
"""OpenAI's role → what the provider takes of it."""


def text_part(part: Json) -> Any:
    text = read_text(part)
    return {"type": "text", "text": text} if text else None


def image_part(part: Json) -> Any:
    """Keep address (or data URI) and detail of an image: the provider knows which of its models take images."""
    image = part.get("image_url")
    given = {"url": image} if isinstance(image, str) else as_object(image)
    url = {name: given[name] for name in ("url", "detail") if as_text(given.get(name))}
    return {"type": "image_url", "image_url": url} if "url" in url else None


def tool_calls(calls: Any) -> list[Message]:
    """Keep the calls of functions: only OpenAI has others."""
    return [
        {
            "id": as_text(call.get("id")),
            "type": "function",
            "function": {"name": as_text(function.get("name")), "arguments": as_arguments(function.get("arguments")) or "{}"},
        }
        for call in map(as_object, as_list(calls))
        if (function := as_object(call.get("function")))
    ]


TEXT: Mapping[str, Part] = {"text": text_part, "refusal": text_part}
IMAGE: Mapping[str, Part] = {"image_url": image_part}


def to_wire(messages: tuple[Json, ...], rules: RoleRules) -> list[Message]:
    """Translate the conversation; a message with nothing left in it is left out, for providers refuse empty ones."""
    translated = (_translate(message, rules[role]) for message in messages if (role := as_text(message.get("role"))) in rules)
    return [message for message in translated if message["role"] == "tool" or message.keys() > {"role"}]


def find_dropped(messages: tuple[Json, ...], rules: RoleRules) -> list[str]:
    """Name the parts and members that `to_wire` leaves out because the rules have no place for them, each once."""
    names = (name for message in messages for name in _dropped_of(message, rules))
    return [f"messages.{name}" for name in dict.fromkeys(names)]


def read_text(content: Any) -> str:
    """Read all text in a message's content, or in one part of it."""
    if isinstance(content, list):
        return SEPARATOR.join(filter(None, map(read_text, map(as_object, content))))
    if isinstance(content, dict):
        return as_text(content.get("text")) or as_text(content.get("refusal"))
    return as_text(content)


def lead_with_system(messages: list[Message]) -> list[Message]:
    """Move the system messages to the front, in their order."""
    return sorted(messages, key=lambda message: message["role"] != "system")


def merge_neighbours(messages: list[Message]) -> list[Message]:
    """Merge adjacent messages of one role; results of tools stay apart, for each answers its own call."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] != "tool":
            merged[-1] = _join(merged[-1], message)
        else:
            merged.append(message)
    return merged


def _translate(message: Json, rule: RoleRule) -> Message:
    content = _translate_content(message, rule)
    members = {name: translate(message[name]) for name, translate in rule.members.items() if message.get(name)}
    return {
        "role": rule.role,
        **({"content": content} if content or rule.role == "tool" else {}),
        **{name: value for name, value in members.items() if value},
    }


def _translate_content(message: Json, rule: RoleRule) -> Any:
    """Translate the content; OpenAI keeps a model's refusal beside it, for all others it is the content."""
    content = message.get("content") or message.get("refusal")
    if not isinstance(content, list) or not rule.parts:
        return read_text(content)
    parts = map(as_object, content)
    return [wire for part in parts if (translate := rule.parts.get(as_text(part.get("type")))) and (wire := translate(part))]


def _dropped_of(message: Json, rules: RoleRules) -> Iterator[str]:
    role = as_text(message.get("role"))
    if role not in rules:
        yield role
        return
    known = {"role", "content", "refusal", *rules[role].members}
    yield from (name for name, value in message.items() if value and name not in known)
    parts = rules[role].parts or TEXT
    yield from (kind for part in as_list(message.get("content")) if (kind := as_text(as_object(part).get("type"))) not in parts)
    calls = map(as_object, as_list(message.get("tool_calls")))
    yield from ("tool_calls." + as_text(call.get("type")) for call in calls if not as_object(call.get("function")))


def _join(first: Message, second: Message) -> Message:
    joined = {**first, **second}
    for name, between in (("content", SEPARATOR), ("tool_calls", [])):
        if name in first and name in second:
            joined[name] = first[name] + between + second[name]
    return joined
