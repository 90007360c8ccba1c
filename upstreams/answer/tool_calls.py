"""The tool calls of an answer, put together from the pieces that providers send; knows nothing of the request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from upstreams.lenient_json import as_arguments, as_list, as_object, as_text
from upstreams.values import Json, Names, ToolCall


@dataclass(slots=True)
class _Call:
    index: int
    given_id: str
    has_arguments: bool = False


class ToolCallAssembler:
    """Assembles the calls of one answer: numbers them from 0, gives each an id, a name and arguments."""

    def __init__(self, names: Names = MappingProxyType({})) -> None:
        """`names`: the provider's name of a tool → the client's, for tools that the provider got under another name."""
        self._names = names
        self._made: dict[int, list[_Call]] = {}
        self._latest: dict[tuple[int, Any], _Call] = {}

    def read(self, items: Any, choice: int, answer_id: Any = None) -> Iterator[ToolCall]:
        """Read calls, or pieces of them; where an id is missing, one is made from that of the answer."""
        for item in map(as_object, as_list(items)):
            function = as_object(item.get("function"))
            id, name = as_text(item.get("id")), as_text(function.get("name"))
            call = self._find_begun(item, id, name, choice)
            arguments = as_arguments(function.get("arguments"))
            if call is None:
                call = self._begin(item, id, choice)
                id = id or _invent_id(answer_id, choice, call.index)
                yield ToolCall(call.index, id, self._names.get(name, name), _begin_arguments(call, arguments), choice)
            elif arguments := _begin_arguments(call, arguments):
                yield ToolCall(call.index, arguments=arguments, choice=choice)

    def close(self) -> list[ToolCall]:
        """Give `{}` to the calls that have no arguments until now: clients parse them as JSON."""
        bare = [(choice, call) for choice, calls in self._made.items() for call in calls if not call.has_arguments]
        for _, call in bare:
            call.has_arguments = True
        return [ToolCall(call.index, arguments="{}", choice=choice) for choice, call in bare]

    def made_in(self, choice: int) -> bool:
        return choice in self._made

    def _find_begun(self, item: Json, id: str, name: str, choice: int) -> _Call | None:
        """Find the call that a piece goes on with.

        Another id opens another call, for some servers give index 0 to all; without an index a name does too, and what has
        neither goes on with the latest (Mistral leaves the index out, https://github.com/vercel/ai/pull/19181).
        """
        index = item.get("index")
        call = self._latest.get((choice, index if isinstance(index, int) else None))
        if call is None:
            return None if id or name else self._latest.get((choice, None))
        if id and id == call.given_id:
            return call
        if index is None:
            return None if id or name else call
        return None if id and call.given_id else call

    def _begin(self, item: Json, id: str, choice: int) -> _Call:
        made = self._made.setdefault(choice, [])
        call = _Call(len(made), id)
        made.append(call)
        index = item.get("index")
        self._latest[choice, index if isinstance(index, int) else None] = call
        self._latest[choice, None] = call
        return call


def _begin_arguments(call: _Call, arguments: str) -> str:
    """Return a piece of arguments; "null" at their start is how Cohere says none."""
    if not call.has_arguments and arguments.strip() in ("", "null"):
        return ""
    call.has_arguments = True
    return arguments


def _invent_id(answer_id: Any, choice: int, index: int) -> str:
    seed = f"{as_text(answer_id)} {choice} {index}".encode("utf-8", "surrogatepass")
    return "call_" + sha256(seed).hexdigest()[:24]
