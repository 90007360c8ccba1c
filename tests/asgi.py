"""The edge towards the client, by hand: ASGI is two functions, and a test that holds both ends sees every message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message

from tests.clock import within

DEADLINE = 5.0
"""Real seconds after which a test that waits in vain fails."""


@dataclass
class Exchange:
    """One request as the application sees it, and what it has answered so far."""

    app: ASGIApp
    state: Mapping[str, Any]
    method: str = "POST"
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = (b"",)
    answered: list[Message] = field(default_factory=list)
    blocked: bool = False
    waiting: bool = False

    def __post_init__(self) -> None:
        self._incoming: deque[Message] = deque(
            {"type": "http.request", "body": chunk, "more_body": number < len(self.chunks) - 1}
            for number, chunk in enumerate(self.chunks)
        )
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()

    async def run(self) -> Exchange:
        """Run the application to its end."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": dict(self.state),
            "extensions": {},
        }
        await self.app(scope, self._receive, self._send)
        return self

    def leave(self, *, before_the_end: bool = False) -> None:
        """Let the client go away; with `before_the_end`, without the last part of its body."""
        if before_the_end:
            self._incoming.pop()
        self._incoming.append({"type": "http.disconnect"})
        self._arrived.set()

    def withhold_the_rest(self) -> None:
        """Let the last part of the body never arrive."""
        self._incoming.pop()

    def withhold_body(self) -> None:
        """Let the body never arrive."""
        self._incoming.clear()

    def stop_reading(self) -> None:
        """Let the client read no more: `send` blocks from now on."""
        self._reading.clear()

    async def wait_until(self, condition: Callable[[Exchange], bool]) -> None:
        """Return when what was answered so far meets the condition."""
        with within(DEADLINE):
            while not condition(self):
                await self._changed.wait()

    @property
    def body_is_read(self) -> bool:
        return not self._incoming

    @property
    def status(self) -> int | None:
        return self.answered[0]["status"] if self.answered else None

    @property
    def answer_headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.answered[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.answered[1:])

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)

    @property
    def events(self) -> list[Any]:
        """The events of a stream so far, parsed; `[DONE]` as a string."""
        datas = [part.removeprefix(b"data: ") for part in self.content.split(b"\n\n") if part]
        return ["[DONE]" if data == b"[DONE]" else orjson.loads(data) for data in datas]

    @property
    def complete(self) -> bool:
        """Whether the last message of the answer has been sent."""
        return len(self.answered) > 1 and not self.answered[-1].get("more_body", False)

    def text(self, choice: int = 0) -> str:
        """Return the concatenated text of a streamed choice."""
        return "".join(
            item["delta"].get("content") or ""
            for event in self.events
            if event != "[DONE]"
            for item in event.get("choices", [])
            if item["index"] == choice
        )

    async def _receive(self) -> Message:
        while not self._incoming:
            self.waiting = True
            self._notify()
            await self._arrived.wait()
        self.waiting = False
        return self._incoming.popleft()

    async def _send(self, message: Message) -> None:
        if not self._reading.is_set():
            self.blocked = True
            self._notify()
        await self._reading.wait()
        self.answered.append(message)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
