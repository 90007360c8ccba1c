"""text/event-stream both ways, as the HTML standard defines it; works on bytes and knows nothing of what they mean.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from typing import NamedTuple

MAX_EVENT_BYTES = 2**20
"""Longest event that is waited for, in bytes: the longest seen is a tool call of a few kilobytes; the rest is an attack."""

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
DONE = b"[DONE]"
"""The data with which OpenAI and those who follow it end a stream."""

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event did not end within MAX_EVENT_BYTES."""


class Event(NamedTuple):
    """One event: its data as bytes, and its name where the sender gave one. `id` and `retry` serve reconnecting, not us."""

    data: bytes
    name: bytes = b"message"


def encode(data: bytes) -> bytes:
    """Frame one line of data as an event."""
    return b"data: " + data + b"\n\n"


class EventParser:
    """Cuts a byte stream, in whatever pieces it arrives, into events."""

    def __init__(self) -> None:
        self._unfinished = bytearray()
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete; raises EventTooLarge."""
        if self._after_cr or b"\r" in data:
            data = self._unify_line_ends(data)
        if self._unfinished:
            searched = max(0, len(self._unfinished) - 1)
            self._unfinished += data
            if self._unfinished.find(b"\n\n", searched) < 0:
                if len(self._unfinished) > MAX_EVENT_BYTES:
                    raise EventTooLarge
                return []
            data = bytes(self._unfinished)
            self._unfinished.clear()
        *blocks, rest = data.split(b"\n\n")
        self._unfinished += rest
        return self._read_blocks(blocks)

    def close(self) -> list[Event]:
        """Return what the end of the stream completes.

        The standard throws an event away whose blank line is missing; AI21 ends its streams so, hence it counts here.
        """
        rest = bytes(self._unfinished)
        self._unfinished.clear()
        return self._read_blocks([rest])

    def _unify_line_ends(self, data: bytes) -> bytes:
        """Turn CRLF and CR into LF; the LF of a pair may come with the next bytes."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_blocks(self, blocks: list[bytes]) -> list[Event]:
        if self._at_start and blocks:
            blocks[0] = blocks[0].removeprefix(_BOM)
            self._at_start = False
        events = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(Event(block[6:]))
            elif (event := _read_lines(block)) is not None:
                events.append(event)
        return events


def _read_lines(block: bytes) -> Event | None:
    data: list[bytes] = []
    name = b""
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(b"\n".join(data), name or b"message") if data else None
