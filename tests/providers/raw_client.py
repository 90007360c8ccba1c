"""A client that is nothing but a socket: it asks a loopback provider and shows the answer byte by byte."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.providers import ai21_wire, cohere_wire, mistral_wire, openai_wire
from tests.providers.faults import Fault
from tests.providers.loopback import Loopback, Turn
from tests.providers.turns import Wire

TURN = Turn(text=("Hello", " wörld"))
MODELS: dict[Wire, str] = {
    openai_wire: "gpt-4o-mini",
    cohere_wire: "command-r-08-2024",
    mistral_wire: "mistral-small-latest",
    ai21_wire: "jamba-mini",
}


class Client:
    """A socket that asks, and shows the answer byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, wire: Wire = openai_wire, stream: bool = True, connection: str = "close") -> None:
        body = json.dumps({"model": MODELS[wire], "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
        head = (
            f"POST {wire.PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer test-token\r\nconnection: {connection}\r\n"
        )
        self.writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(end)


@asynccontextmanager
async def connected(provider: Loopback, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    port = int(provider.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=2**26)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def played(wire: Wire, fault: Fault, stream: bool, connection: str = "close") -> bytes:
    """Return all that arrives of a fault; a connection that is kept is left when the call is over."""
    async with Loopback(wire, TURN) as provider, connected(provider) as client:
        provider.play(fault)
        client.ask(wire, stream, connection)
        if connection == "close":
            return await client.rest()
        reading = asyncio.create_task(client.rest())
        await provider.wait_for_calls(1)
        await provider.wait_until_quiet()
        client.writer.write_eof()
        return await reading
