"""What the application needs under hypercorn's own server and not under ours: a body that is read before the answer.

hypercorn 0.18 stops a connection for good when an answer begins while a part of the request's body is unread.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class UnreadBody:
    """ASGI middleware that reads what is left of a body, for `seconds` at the most, before an answer begins."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_read = False

        async def receive_and_note() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_after_the_body(message: Message) -> None:
            nonlocal is_read
            if not is_read:
                try:
                    async with asyncio.timeout(self._seconds):
                        while not is_read:
                            await receive_and_note()
                except TimeoutError:
                    is_read = True
            await send(message)

        await self._app(scope, receive_and_note, send_after_the_body)
