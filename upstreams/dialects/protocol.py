"""What a dialect is: a module of pure functions between OpenAI's API and a provider's; checked by mypy, never subclassed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from upstreams.answer.sse import Event
from upstreams.request.parameters import Parameters
from upstreams.values import AnswerContext, ChatRequest, Delta, ErrorKind, Failure, FinishReason, Outgoing


class EventReader(Protocol):
    """RoleRules the events of one streamed answer into deltas; one is made per call, for it remembers."""

    def read(self, event: Event) -> list[Delta]:
        """Return the deltas of an event; never raises, whatever it holds."""
        ...

    def close(self) -> list[Delta]:
        """Return the deltas that the end of the stream brings: a Failure where it came too early."""
        ...


class Dialect(Protocol):
    """The names that every dialect has, in this order."""

    @property
    def PARAMETERS(self) -> Parameters: ...  # noqa: N802 - a constant of a module

    @property
    def FINISH(self) -> Mapping[str, FinishReason | ErrorKind]: ...  # noqa: N802

    @property
    def PATH(self) -> str: ...  # noqa: N802

    def headers(self, token: str | None) -> dict[str, str]:
        """Return the headers that authorise a call."""
        ...

    def body(self, model: str, request: ChatRequest) -> Outgoing:
        """Translate a request; never changes it."""
        ...

    def answer(self, payload: Any, context: AnswerContext) -> list[Delta]:
        """Turn a whole answer into deltas; never raises, whatever it holds."""
        ...

    def Reader(self, context: AnswerContext) -> EventReader:  # noqa: N802 - a class in every dialect
        """Return a reader of one streamed answer."""
        ...

    def failure(self, status: int, payload: Any, retry_after: float | None = None) -> Failure:
        """Turn an answer with an error status into a Failure; its headers ask to wait `retry_after` seconds."""
        ...
