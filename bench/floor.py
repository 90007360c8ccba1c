"""The bare forwarder on the same stack, the floor under every figure: stock hypercorn, aiohttp, orjson, and no feature at all.

No checks, no clocks, no retry, no sections, no log. Not streamed, it asks every upstream and joins the texts; streamed, it
passes on the bytes of every upstream as they come, unread.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson
from hypercorn.asyncio import serve
from hypercorn.config import Config

HEADERS = {"content-type": "application/json", "authorization": "Bearer bench"}


class Floor:
    """The ASGI application."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        request = orjson.loads(body)
        request["model"] = "bench"
        payload = orjson.dumps(request)
        if request.get("stream"):
            await self._relay(payload, send)
        else:
            await self._join(payload, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _join(self, payload: bytes, send: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(self._ask(url, payload)) for url in self._urls]
        answers = [call.result() for call in calls]
        text = "\n".join(answer["choices"][0]["message"]["content"] for answer in answers)
        answers[0]["choices"][0]["message"]["content"] = text
        body = orjson.dumps(answers[0])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _ask(self, url: str, payload: bytes) -> Any:
        async with self._session.post(url, data=payload, headers=HEADERS) as response:
            return orjson.loads(await response.read())

    async def _relay(self, payload: bytes, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with asyncio.TaskGroup() as tasks:
            for url in self._urls:
                tasks.create_task(self._pass_on(url, payload, send))
        await send({"type": "http.response.body", "body": b""})

    async def _pass_on(self, url: str, payload: bytes, send: Any) -> None:
        async with self._session.post(url, data=payload, headers=HEADERS) as response:
            async for data in response.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})


async def run(urls: Sequence[str]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_max_requests = 2**31
    config.keep_alive_timeout = 75
    config.accesslog = None
    config.loglevel = "warning"
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await serve(Floor(urls), config, mode="asgi")


def main() -> None:
    parser = argparse.ArgumentParser(description="The bare forwarder.")
    parser.add_argument("urls", nargs="+", help="where each upstream takes chat requests")
    urls = parser.parse_args().urls
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(urls))
    else:
        uvloop.run(run(urls))


if __name__ == "__main__":
    main()
