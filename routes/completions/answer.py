"""Whole answers to a `chat.completion`, and the report of how each upstream fared; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from routes.http.errors import describe
from upstreams.values import Answer, End, Failure, Finish, Json, Reasoning, Result, Text, ToolCall, Usage


def section_opening(number: int, provider: str, model: str) -> str:
    """Return what stands before the text of a section, counted from 0."""
    return "\n" * (number > 0) + f"--- [{provider} ({model})] ---\n"


def section_closing(end: End, *, has_text: bool) -> str:
    """Return what stands behind the text of a section: a line where its answer failed."""
    return "\n" * has_text + f"Request failed: {describe(end)}" if isinstance(end, Failure) else ""


def to_usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def sum_usage(results: Sequence[Result]) -> Usage:
    return sum((result.usage for result in results if result.usage is not None), Usage())


def to_result(result: Result) -> dict[str, Any]:
    """Return one member of `x_rawbot.results`."""
    report: dict[str, Any] = {
        "provider": result.provider,
        "model": result.model,
        "finish_reason": result.end.reason if isinstance(result.end, Finish) else None,
        "usage": None if result.usage is None else to_usage(result.usage),
        "first_token_ms": None if result.first_token is None else round(result.first_token * 1000),
        "duration_ms": round(result.duration * 1000),
        "dropped_params": result.dropped,
    }
    if isinstance(result.end, Failure):
        failure = result.end
        report["error"] = {
            "type": failure.kind.name.lower(),
            "status": failure.status,
            "message": failure.message or describe(failure),
        }
    return report


def to_report(results: Sequence[Result]) -> Json:
    """Return `x_rawbot`: how each upstream fared."""
    failed = any(isinstance(result.end, Failure) for result in results)
    return {"status": "partial" if failed else "complete", "results": [to_result(result) for result in results]}


def finish_of_sections(results: Sequence[Result]) -> str:
    """Return the finish reason of one text of several: `length` where any part was cut."""
    cut = any(isinstance(result.end, Finish) and result.end.reason == "length" for result in results)
    return "length" if cut else "stop"


def to_completion(id: str, created: int, model: str, choices: list[Json], results: Sequence[Result]) -> bytes:
    """Return the body of the answer."""
    return orjson.dumps(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": choices,
            "usage": to_usage(sum_usage(results)),
            "x_rawbot": to_report(results),
        }
    )


def sections_choices(answers: Sequence[Answer]) -> list[Json]:
    """Return the one choice in which every upstream has its section."""
    text = "".join(_section(number, answer) for number, answer in enumerate(answers))
    reasoning = "".join(_reasoning(answer) for answer in answers)
    return [_choice(0, _message(text, reasoning, []), finish_of_sections([answer.result for answer in answers]))]


def single_choices(answers: Sequence[Answer]) -> list[Json]:
    """Return the choices of one or several answers that stand for themselves, one after another."""
    choices: list[Json] = []
    for answer in answers:
        for number, reason in enumerate(answer.result.reasons):
            choices.append(_choice(len(choices), _read_message(answer, number), reason, _read_logprobs(answer, number)))
    return choices


def _section(number: int, answer: Answer) -> str:
    result, text = answer.result, _text(answer)
    opening = section_opening(number, result.provider, result.model)
    return opening + text + section_closing(result.end, has_text=bool(text))


def _text(answer: Answer, choice: int = 0) -> str:
    return "".join(piece.text for piece in answer.pieces if isinstance(piece, Text) and piece.choice == choice)


def _reasoning(answer: Answer, choice: int = 0) -> str:
    return "".join(piece.text for piece in answer.pieces if isinstance(piece, Reasoning) and piece.choice == choice)


def _read_message(answer: Answer, choice: int) -> Json:
    calls = [piece for piece in answer.pieces if isinstance(piece, ToolCall) and piece.choice == choice]
    return _message(_text(answer, choice), _reasoning(answer, choice), _join_calls(calls))


def _message(text: str, reasoning: str, calls: list[Json]) -> Json:
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    return message


def _join_calls(pieces: Sequence[ToolCall]) -> list[Json]:
    calls: dict[int, dict[str, str]] = {}
    for piece in pieces:
        call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
        call["id"] = call["id"] or piece.id or ""
        call["name"] = call["name"] or piece.name or ""
        call["arguments"] += piece.arguments
    return [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for _, call in sorted(calls.items())
    ]


def _read_logprobs(answer: Answer, choice: int) -> Json | None:
    found = [piece.logprobs for piece in answer.pieces if isinstance(piece, Text) and piece.choice == choice and piece.logprobs]
    return found[0] if found else None


def _choice(index: int, message: Json, finish_reason: str, logprobs: Json | None = None) -> Json:
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}
