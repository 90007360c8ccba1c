"""The values of the loopback provider: what it answers, what it received, what a wire module is; nothing here does I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from upstreams.values import Usage

Payload: TypeAlias = dict[str, Any]

WRONG_TOKEN = "wrong-token"
"""The one bearer token that no provider knows; every other one is good, so that tests may tell their rows apart."""


USAGE = Usage(prompt=8, completion=5)


@dataclass(frozen=True)
class Call:
    """A tool call that the model makes; `arguments` without pieces is a call of a tool without parameters.

    The id goes out as it stands: give it nine letters and digits where Mistral shall play it as it really would.
    """

    id: str
    name: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """What the model says, in no provider's words; each wire module plays it as its provider would.

    A piece is an event that brings something of the answer: of the reasoning, of the text, of a tool call, in this order.
    `pace` holds piece k back until its gate is set, and what follows the last piece by the gate after the last; an answer
    that is not streamed waits for all gates. `finish` is OpenAI's word, or any other to be sent as it stands. `choices` is
    how many are answered, 0 for as many as the body's `n` says.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[Call, ...] = ()
    usage: Usage | None = USAGE
    finish: str = "stop"
    pace: Mapping[int, asyncio.Event] = field(default_factory=dict)
    choices: int = 0
    keep_alive: bool = True


@dataclass(frozen=True)
class Received:
    """A request as it arrived; header names are lower-case, a body that is no JSON is None."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def streamed(self) -> bool:
        return isinstance(self.body, dict) and self.body.get("stream") is True

    @property
    def keep_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


class Piece(bytes):
    """The bytes of an event that brings a piece of the answer: one that a gate may hold back."""


Refusal: TypeAlias = tuple[int, Payload]


class Wire(Protocol):
    """The names that every wire module has."""

    @property
    def PATH(self) -> str: ...  # noqa: N802 - a constant of a module

    @property
    def WHOLE_HEADERS(self) -> Mapping[str, str]: ...  # noqa: N802

    @property
    def STREAM_HEADERS(self) -> Mapping[str, str]: ...  # noqa: N802

    @property
    def ERROR_HEADERS(self) -> Mapping[str, str]: ...  # noqa: N802

    def refuse(self, received: Received) -> Refusal | None:
        """Return the status and body by which the provider refuses this request."""
        ...

    def whole(self, turn: Turn, received: Received) -> Payload:
        """Return the answer in one piece."""
        ...

    def events(self, turn: Turn, received: Received) -> Iterator[bytes]:
        """Return the answer as the bytes of its events, up to and with the last byte of the stream."""
        ...

    def error(self, status: int, message: str) -> Payload:
        """Return an error in the provider's shape."""
        ...

    def error_event(self, message: str) -> bytes:
        """Return the event by which the provider says, within a stream, that it failed."""
        ...
