"""Tools on their way to a provider: definitions, the choice among them, names and ids that it refuses; knows no answers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from upstreams.lenient_json import as_list, as_object, as_text
from upstreams.request.parameters import Unsupported
from upstreams.values import ChatRequest, Json, Names

NO_PARAMETERS: Json = {"type": "object", "properties": {}}
"""The schema of a tool that takes nothing; OpenAI lets clients leave it out, the others want it."""


def functions_of(parameters: Json) -> list[Json]:
    """Return the functions among the tools: only OpenAI has others."""
    return [function for tool in as_list(parameters.get("tools")) if (function := as_object(as_object(tool).get("function")))]


def define(*names: str) -> Callable[[Any], list[Json]]:
    """Return a transform for `tools` that keeps these members of each function beside name, description and parameters."""
    kept = ("name", "description", "parameters", *names)

    def to_wire(tools: Any) -> list[Json]:
        functions = [
            {**function, "parameters": function.get("parameters") or NO_PARAMETERS}
            for function in functions_of({"tools": tools})
        ]
        if not functions:
            raise Unsupported
        definitions = [{name: function[name] for name in kept if function.get(name) is not None} for function in functions]
        return [{"type": "function", "function": definition} for definition in definitions]

    return to_wire


def find_dropped(parameters: Json, *names: str) -> list[str]:
    """Name what a provider does not take of the tools: other kinds than functions, and these members of functions."""
    kinds = [
        as_text(tool.get("type"))
        for tool in map(as_object, as_list(parameters.get("tools")))
        if not as_object(tool.get("function"))
    ]
    members = [name for function in functions_of(parameters) for name in names if function.get(name)]
    return [f"tools.{name}" for name in dict.fromkeys([*kinds, *members])]


def without_choice(parameters: Json) -> dict[str, Any]:
    """Express `tool_choice` by the list of tools itself, as far as possible: no tools, all of them, or the chosen one alone.

    What is left of `tool_choice` then is "required", or nothing.
    """
    parameters = without_allowed(parameters)
    choice = parameters.get("tool_choice")
    if choice == "none":
        return _without(parameters, "tools", "tool_choice")
    if choice == "auto":
        return _without(parameters, "tool_choice")
    if name := as_text(as_object(as_object(choice).get("function")).get("name")):
        return _narrow(parameters, {name}, "required")
    return parameters


def without_allowed(parameters: Json) -> dict[str, Any]:
    """Express a choice of `allowed_tools` by the list of tools itself; without tools the choice is left out too."""
    choice = as_object(parameters.get("tool_choice"))
    if choice.get("type") == "allowed_tools":
        allowed = as_object(choice.get("allowed_tools"))
        names = {as_text(function.get("name")) for function in functions_of(allowed)}
        parameters = _narrow(parameters, names, as_text(allowed.get("mode")) or "auto")
    return dict(parameters) if functions_of(parameters) else _without(parameters, "tool_choice", "parallel_tool_calls")


def rename_definitions(parameters: Json, names: Names) -> Json:
    """Replace the names of tools in their definitions."""
    if not names or "tools" not in parameters:
        return parameters
    return {**parameters, "tools": [_rename_function(tool, names) for tool in map(as_object, as_list(parameters["tools"]))]}


def rename_calls(messages: tuple[Json, ...], names: Names, ids: Names) -> tuple[Json, ...]:
    """Replace tool names and call ids throughout the history, in calls and in their results alike."""
    return tuple(_rename_in(message, names, ids) for message in messages) if names or ids else messages


def distinct_ids(messages: tuple[Json, ...]) -> tuple[Json, ...]:
    """Make call ids unique across turns: models that count from 0 in each turn repeat them."""
    taken: set[str] = set()
    latest: dict[str, str] = {}
    distinct: list[Json] = []
    for message in messages:
        for id in {as_text(call.get("id")) for call in _calls_of(message)}:
            latest[id] = next(candidate for candidate in _numbered(id) if candidate not in taken)
            taken.add(latest[id])
        distinct.append(_rename_in(message, {}, latest) if latest else message)
    return tuple(distinct)


def substitute(names: Iterable[str], valid: re.Pattern[str], propose: Callable[[str, int], str]) -> dict[str, str]:
    """Return a valid, unique substitute for every name (or id) that is not valid; `propose` returns the nth candidate."""
    names = list(dict.fromkeys(names))
    taken = {name for name in names if valid.fullmatch(name)}
    substitutes: dict[str, str] = {}
    for name in names:
        if not valid.fullmatch(name):
            candidates = (propose(name, n) for n in itertools.count())
            substitutes[name] = next(candidate for candidate in candidates if candidate not in taken)
            taken.add(substitutes[name])
    return substitutes


def names_in(request: ChatRequest) -> list[str]:
    """Return the names of all functions that the request defines or that its history has called."""
    called = [as_object(call.get("function")) for message in request.messages for call in _calls_of(message)]
    return [name for function in [*functions_of(request.parameters), *called] if (name := as_text(function.get("name")))]


def ids_in(request: ChatRequest) -> list[str]:
    """Return the ids of all calls in the history and of all results."""
    calls = [call.get("id") for message in request.messages for call in _calls_of(message)]
    results = [message.get("tool_call_id") for message in request.messages]
    return [id for id in map(as_text, [*calls, *results]) if id]


def _numbered(id: str) -> Iterator[str]:
    yield id
    yield from (f"{id}_{number}" for number in itertools.count(2))


def _calls_of(message: Json) -> list[Json]:
    return [as_object(call) for call in as_list(message.get("tool_calls"))]


def _narrow(parameters: Json, names: set[str], choice: str) -> dict[str, Any]:
    """Leave only these functions to choose from; where none of them exists, there is nothing to choose."""
    left = [
        {"type": "function", "function": function}
        for function in functions_of(parameters)
        if as_text(function.get("name")) in names
    ]
    return {**parameters, "tools": left, "tool_choice": choice} if left else _without(parameters, "tools", "tool_choice")


def _without(parameters: Json, *names: str) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in names}


def _rename_in(message: Json, names: Names, ids: Names) -> Json:
    renamed = dict(message)
    if "tool_calls" in message:
        calls = [_rename_function(call, names) for call in _calls_of(message)]
        renamed["tool_calls"] = [{**call, "id": ids.get(id := as_text(call.get("id")), id)} for call in calls]
    if id := as_text(message.get("tool_call_id")):
        renamed["tool_call_id"] = ids.get(id, id)
    if message.get("role") == "tool" and (name := as_text(message.get("name"))):
        renamed["name"] = names.get(name, name)
    return renamed


def _rename_function(item: Json, names: Names) -> Json:
    function = as_object(item.get("function"))
    name = as_text(function.get("name"))
    return {**item, "function": {**function, "name": names[name]}} if name in names else item
