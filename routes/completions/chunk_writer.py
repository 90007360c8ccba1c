"""The chunks of one stream as bytes: what never changes is serialised once, and only the text is escaped per chunk."""

from __future__ import annotations

import orjson

from upstreams.answer.sse import encode
from upstreams.values import Json


class ChunkWriter:
    """Makes `chat.completion.chunk` events that share id, time and model.

    With `include_usage` every chunk has `usage: null`, as OpenAI's have when the last but one brings the usage.
    """

    def __init__(self, id: str, created: int, model: str, *, include_usage: bool) -> None:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        self._tail = (b'],"usage":null}' if include_usage else b"]}") + b"\n\n"
        self._bare_head = self._head.removeprefix(b"data: ")
        self._texts: dict[int, tuple[bytes, bytes]] = {}

    def text(self, choice: int, text: str) -> bytes:
        """Return a chunk with a piece of text: the one that is made per token."""
        parts = self._texts.get(choice)
        if parts is None:
            parts = self._texts[choice] = self._text_parts(choice)
        return parts[0] + orjson.dumps(text) + parts[1]

    def delta(
        self,
        choice: int,
        delta: Json,
        *,
        finish_reason: str | None = None,
        logprobs: Json | None = None,
        x_rawbot: Json | None = None,
    ) -> bytes:
        """Return a chunk with any delta for a choice."""
        item = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        tail = self._tail if x_rawbot is None else b'],"x_rawbot":' + orjson.dumps(x_rawbot) + self._tail[1:]
        return self._head + _lead(choice) + orjson.dumps(item) + tail

    def usage(self, usage: Json) -> bytes:
        """Return the chunk that brings the usage and no choice."""
        return encode(self._bare_head + b'],"usage":' + orjson.dumps(usage) + b"}")

    def _text_parts(self, choice: int) -> tuple[bytes, bytes]:
        head = self._head + _lead(choice) + b'{"index":%d,"delta":{"content":' % choice
        return head, b'},"logprobs":null,"finish_reason":null}' + self._tail


def _lead(choice: int) -> bytes:
    """Return what stands in front of a choice: most clients read `choices[0]` by position, and that must be index 0."""
    return b"" if choice == 0 else b'{"index":0,"delta":{},"logprobs":null,"finish_reason":null},'
