"""The dialect of Mistral's chat API: OpenAI's with fewer names, ids of nine characters and a strict order of roles.

https://docs.mistral.ai/api/; unknown keys are refused at every depth (422 `extra_forbidden`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

from upstreams.answer.chunks import ChunkReader, FinishTable, read_completion
from upstreams.answer.errors import read_failure
from upstreams.answer.sse import Event
from upstreams.lenient_json import as_object, as_text
from upstreams.request import messages, parameters, tools
from upstreams.request.messages import IMAGE, TEXT, Message, RoleRule, RoleRules
from upstreams.request.parameters import Parameter, Parameters, Unsupported, clamp
from upstreams.values import AnswerContext, ChatRequest, Delta, ErrorKind, Failure, Finish, Json, Outgoing, Text, Usage


def _response_format(value: Any) -> Json:
    """Keep the members that Mistral knows. Mistral wants the word JSON in the prompt too: that is left to the client."""
    kind = as_text(as_object(value).get("type"))
    if kind == "json_schema":
        schema = as_object(as_object(value).get("json_schema"))
        kept = {name: schema[name] for name in ("name", "description", "schema", "strict") if schema.get(name) is not None}
        return {"type": kind, "json_schema": kept}
    if kind not in ("text", "json_object"):
        raise Unsupported
    return {"type": kind}


def _prediction(value: Any) -> Json:
    return {"type": "content", "content": messages.read_text(as_object(value).get("content"))}


def _tool_choice(value: Any) -> Any:
    """Keep a string, and the object that names a function."""
    if isinstance(value, str):
        return value
    name = as_text(as_object(as_object(value).get("function")).get("name"))
    if not name:
        raise Unsupported
    return {"type": "function", "function": {"name": name}}


_EFFORT = {"none": "none", "minimal": "none", "low": "high", "medium": "high", "high": "high", "xhigh": "high", "max": "high"}
"""Two degrees have an effect, say the docs of August 2026, and one of the two published specifications knows no others."""

PARAMETERS: Parameters = {
    "temperature": Parameter("temperature", clamp(0, 1.5), "0–1.5"),
    "top_p": Parameter("top_p", clamp(0.001, 1), "above 0, up to 1"),
    "max_tokens": Parameter("max_tokens"),
    "max_completion_tokens": Parameter("max_tokens"),
    "stop": Parameter("stop", parameters.one_or_more),
    "seed": Parameter("random_seed", abs, "0 and up"),
    "n": Parameter("n"),
    "frequency_penalty": Parameter("frequency_penalty"),
    "presence_penalty": Parameter("presence_penalty"),
    "response_format": Parameter("response_format", _response_format),
    "tools": Parameter("tools", tools.define("strict"), "functions, with parameters"),
    "tool_choice": Parameter("tool_choice", _tool_choice),
    "parallel_tool_calls": Parameter("parallel_tool_calls"),
    "reasoning_effort": Parameter("reasoning_effort", parameters.translate(_EFFORT), "none or high"),
    "prediction": Parameter("prediction", _prediction),
    "metadata": Parameter("metadata"),
    "prompt_cache_key": Parameter("prompt_cache_key"),
    "service_tier": Parameter(
        "service_tier", parameters.translate({"auto": "auto", "default": "standard_only"}), "auto or standard_only"
    ),
}

FINISH: FinishTable = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "error": ErrorKind.BROKEN,
}

PATH = "/chat/completions"

_ROLES: RoleRules = {
    "system": RoleRule("system", TEXT),
    "developer": RoleRule("system", TEXT),
    "user": RoleRule("user", {**TEXT, **IMAGE}),
    "assistant": RoleRule("assistant", TEXT, {"tool_calls": messages.tool_calls}),
    "tool": RoleRule("tool", members={"tool_call_id": as_text, "name": as_text}),
}

_ID = re.compile(r"[A-Za-z0-9]{9}")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_ERRORS = {"1500": ErrorKind.MODEL_NOT_FOUND, "3051": ErrorKind.CONTEXT_LENGTH, "3505": ErrorKind.UNAVAILABLE}
"""Mistral's codes where they say more than the status: unknown model, prompt too large, no capacity for this model.

Quoted in https://github.com/tmc/langchaingo/issues/1233 and in logs of the SDK; all three come with status 400 or 429.
"""


def headers(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def body(model: str, request: ChatRequest) -> Outgoing:
    wanted = tools.without_allowed(request.parameters)
    members, dropped = parameters.to_wire(PARAMETERS, wanted)
    dropped += tools.find_dropped(request.parameters) + messages.find_dropped(request.messages, _ROLES)
    conversation = _messages(request)
    stream = {"stream": True} if request.stream else {}
    context = AnswerContext(prefix=_prefix_of(conversation))
    return Outgoing({"model": model, "messages": conversation, **members, **stream}, tuple(dropped), context)


def answer(payload: Any, context: AnswerContext) -> list[Delta]:
    deltas = read_completion(payload, FINISH, _ERRORS)
    return _Echo(context.prefix).strip(deltas) if context.prefix else deltas


class Reader(ChunkReader):
    def __init__(self, context: AnswerContext) -> None:
        super().__init__(FINISH, _ERRORS)
        self._echo = _Echo(context.prefix) if context.prefix else None

    def read(self, event: Event) -> list[Delta]:
        deltas = super().read(event)
        return self._echo.strip(deltas) if self._echo else deltas

    def close(self) -> list[Delta]:
        deltas = super().close()
        return self._echo.strip(deltas) if self._echo else deltas


def failure(status: int, payload: Any, retry_after: float | None = None) -> Failure:
    return read_failure(status, payload, _ERRORS, retry_after)


def _messages(request: ChatRequest) -> list[Message]:
    """Translate the conversation in the order that Mistral takes.

    It wants an assistant turn between a tool result and the next user turn, and no system turn at the end;
    an assistant's message at the end is the beginning of the answer.
    """
    ids = tools.substitute(tools.ids_in(request), _ID, _shorten)
    conversation = messages.to_wire(tools.rename_calls(request.messages, {}, ids), _ROLES)
    if conversation and conversation[-1]["role"] == "system":
        conversation = messages.lead_with_system(conversation)
    ordered = conversation[:1]
    for before, message in pairwise(conversation):
        if (before["role"], message["role"]) == ("tool", "user"):
            ordered.append({"role": "assistant", "content": "OK."})
        ordered.append(message)
    if ordered and ordered[-1]["role"] == "assistant" and "tool_calls" not in ordered[-1]:
        ordered[-1] = {**ordered[-1], "prefix": True}
    return ordered


def _shorten(id: str, attempt: int) -> str:
    """Make nine letters and digits of an id, the same in every request of a conversation."""
    number = int.from_bytes(sha256(f"{attempt} {id}".encode("utf-8", "surrogatepass")).digest()[:8])
    return "".join(_ALPHABET[number // 62**digit % 62] for digit in range(9))


def _prefix_of(conversation: list[Message]) -> str:
    """Return the beginning of the answer where the client wrote it itself, as the last message."""
    return messages.read_text(conversation[-1]["content"]) if conversation and "prefix" in conversation[-1] else ""


class _Echo:
    """Takes away the prefix, which Mistral repeats at the start of the answer and other providers do not.

    Blanks at its end may be missing in the answer (https://github.com/vercel/ai, packages/mistral).
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._rests: dict[int, str] = {}

    def strip(self, deltas: list[Delta]) -> list[Delta]:
        stripped: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text):
                text = self._strip_text(delta.text, delta.choice)
                stripped += [replace(delta, text=text)] if text else []
            elif isinstance(delta, Usage | Finish | Failure):
                stripped += [*self._give_back(), delta]
            else:
                stripped.append(delta)
        return stripped

    def _strip_text(self, text: str, choice: int) -> str:
        rest = self._rests.get(choice, self._prefix)
        if rest.startswith(text):
            self._rests[choice] = rest[len(text) :]
            return ""
        self._rests[choice] = ""
        if text.startswith(rest):
            return text[len(rest) :]
        return text if rest.isspace() else self._prefix[: len(self._prefix) - len(rest)] + text

    def _give_back(self) -> list[Text]:
        """Return what looked like the prefix and then ended early."""
        begun = [(choice, rest) for choice, rest in self._rests.items() if rest and not rest.isspace()]
        self._rests.clear()
        return [Text(self._prefix[: len(self._prefix) - len(rest)], choice) for choice, rest in begun]
