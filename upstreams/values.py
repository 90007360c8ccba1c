"""The frozen values that flow between the floors: a request down, deltas up; nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Mapping[str, Any]
"""A JSON object that nobody changes: who needs another one builds it."""

Names: TypeAlias = Mapping[str, str]
"""A name of a tool → the one that replaces it; names that stay are not in it."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
"""The five reasons that an OpenAI client knows."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A client's chat request, checked: the conversation and the parameters, both in OpenAI's form.

    `parameters` holds every other member of the body that is not null, without `model`, `messages`, `stream`,
    `stream_options` and `x_rawbot`, which the gateway itself obeys.
    """

    messages: tuple[Json, ...]
    parameters: Json = field(default_factory=dict)
    stream: bool = False


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What of a request its answer is read with.

    `tool_names` leads from the provider's names of tools back to the client's; `prefix` is the beginning of the answer where
    the client wrote it itself, which the provider repeats.
    """

    tool_names: Names = field(default_factory=dict)
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A translated request: the JSON body in a provider's form, and the names of the parameters that it cannot take."""

    body: Json
    dropped: tuple[str, ...] = ()
    context: AnswerContext = AnswerContext()


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer; `choice` counts the answers of one call with n > 1."""

    text: str
    choice: int = 0
    logprobs: Json | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what a reasoning model thinks before it answers."""

    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a call that the model wants made: the first of each `index` has `id` and `name`, all have arguments."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """The good end of a call; `others` are the reasons of the choices 1, 2, … of a call with n > 1."""

    reason: FinishReason
    others: tuple[FinishReason, ...] = ()


class ErrorKind(Enum):
    """Why an upstream gave no answer, by whose fault it is; the value is the phrase that people read."""

    BAD_REQUEST = "request rejected"
    CONTEXT_LENGTH = "context length exceeded"
    CREDENTIALS = "credentials rejected"
    MODEL_NOT_FOUND = "model not found"
    RATE_LIMITED = "rate limited"
    TIMEOUT = "timed out"
    UNREACHABLE = "could not connect"
    UNAVAILABLE = "service unavailable"
    BROKEN = "server error"
    MALFORMED = "unreadable answer"
    INTERRUPTED = "answer broke off"
    TOO_LARGE = "answer too large"
    SKIPPED = "skipped after repeated failures"


@dataclass(frozen=True, slots=True)
class Failure:
    """The bad end of a call: a value, since after the first byte an exception has nowhere to go.

    `status` is the upstream's HTTP status where there was one, `message` its own message, keys and addresses redacted,
    `retry_after` the seconds that it asked to wait.
    """

    kind: ErrorKind
    status: int | None = None
    message: str = ""
    retry_after: float | None = None


Piece: TypeAlias = Text | Reasoning | ToolCall
End: TypeAlias = Finish | Failure
Delta: TypeAlias = Piece | Usage | End
"""A call yields any number of pieces, then at most one Usage, then exactly one Finish or Failure, then nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one call went, without its pieces; times are in seconds since it was started."""

    provider: str
    model: str
    end: End
    usage: Usage | None
    first_token: float | None
    duration: float
    dropped: tuple[str, ...]

    @property
    def reasons(self) -> tuple[FinishReason, ...]:
        """The finish reasons of its choices; a failed call has one choice, and no other reason than `stop` fits."""
        return (self.end.reason, *self.end.others) if isinstance(self.end, Finish) else ("stop",)


@dataclass(frozen=True, slots=True)
class Answer:
    """All pieces of one call, and how it went."""

    pieces: tuple[Piece, ...]
    result: Result
