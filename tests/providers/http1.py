"""HTTP/1.1 on a socket: reads requests strictly (h11), writes any bytes at all, notices at once when the client leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from typing import Any, TypeAlias

import h11

from tests.providers.turns import Received

READ_SIZE = 65_536
LAST_CHUNK = b"0\r\n\r\n"


class Ending(Enum):
    """How a connection ends that does not live on."""

    CLOSE = "FIN, after all bytes"
    RESET = "RST, after the bytes that the kernel has taken"


Step: TypeAlias = bytes | asyncio.Event | Ending
"""An answer is a series of steps: bytes to send, a gate to wait at, an end of the connection."""


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers, with every character as it was given: faults live here."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection:
    """One accepted connection; requests come in one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._early = b""

    async def receive(self) -> Received | None:
        """Return the next request, None when the client leaves first.

        Each request has a parser of its own, for h11 would want to know the answer, which is none of its business here.
        """
        parser = h11.Connection(h11.SERVER)
        start: h11.Request | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                if not (data := await self._read()):
                    return None
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                start = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and start:
                self._early = parser.trailing_data[0]
                return _received(start, body)

    async def play(self, steps: Iterable[Step]) -> bool:
        """Take the steps one by one; returns whether the connection lives on."""
        for step in steps:
            if isinstance(step, bytes):
                self._writer.write(step)
                await self._writer.drain()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            else:
                self._end(step)
                return False
        return True

    async def wait_until_gone(self) -> None:
        """Return when the client has closed or reset the connection."""
        with suppress(OSError):
            while data := await self._reader.read(READ_SIZE):
                self._early += data

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _read(self) -> bytes:
        if early := self._early:
            self._early = b""
            return early
        try:
            return await self._reader.read(READ_SIZE)
        except OSError:
            return b""

    def _end(self, ending: Ending) -> None:
        if ending is Ending.RESET:
            connected: socket.socket = self._writer.get_extra_info("socket")
            # With a linger time of zero close() sends RST instead of FIN (socket(7), SO_LINGER).
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.abort()


def _received(start: h11.Request, body: bytearray) -> Received:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start.headers}
    return Received(start.method.decode(), start.target.decode(), headers, _parse(body))


def _parse(body: bytearray) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
