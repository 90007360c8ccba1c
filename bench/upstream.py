"""A fast upstream in a process of its own: OpenAI's wire from bytes made beforehand; it answers, and understands nothing.

`python -m bench.upstream --tokens 50 --rate 50` prints its address and serves until it is killed. Requests are told apart
by one word of their body, `"stream":true`. `GET /left` returns when, on the system's monotonic clock, sockets were closed
in the middle of a stream, and forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from typing import Any, cast

TOKEN = " token"
"""The text of every token, which the load counts."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": ?true')
_USAGE = {"prompt_tokens": 12, "completion_tokens": 50, "total_tokens": 62}

FAULTS = ("500", "429", "cut", "garbage", "reset")
"""What a faulty answer is: an error status, a stream or body that breaks off, no JSON, or a closed connection."""


def respond(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def whole_answer(tokens: int) -> bytes:
    message = {"role": "assistant", "content": TOKEN * tokens, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    answer = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1, "model": "bench"}
    return respond("200 OK", json.dumps({**answer, "choices": [choice], "usage": _USAGE}).encode())


def chunk(data: str) -> bytes:
    """Frame one event as one piece of a chunked body."""
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def completion_chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    return chunk(json.dumps({**head, "choices": [choice], **more}, separators=(",", ":")))


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST = STREAM_HEAD + completion_chunk({"role": "assistant", "content": ""})
PIECE = completion_chunk({"content": TOKEN})
LAST = completion_chunk({}, "stop", usage=_USAGE) + chunk("[DONE]") + b"0\r\n\r\n"
GARBAGE = STREAM_HEAD + chunk("{oops") + b"0\r\n\r\n"
ERROR = b'{"error":{"message":"no","type":"server_error","param":null,"code":null}}'
ERRORS = {"500": respond("500 Oops", ERROR), "429": respond("429 Slow Down", ERROR, "retry-after: 1\r\n")}


class Behaviour:
    """How this upstream answers; `rate` is in tokens per second, 0 = all at once, and `delay` in seconds."""

    def __init__(self, tokens: int, rate: float, delay: float, faults: float) -> None:
        self.tokens = tokens
        self.rate = rate
        self.delay = delay
        self.left: list[float] = []
        self.whole = whole_answer(tokens)
        self.stream = FIRST + PIECE * tokens + LAST
        self._faults = faults
        # The same faults in every run.
        self._random = random.Random(1)

    def fault(self) -> str | None:
        return self._random.choice(FAULTS) if self._faults and self._random.random() < self._faults else None


class Connection(asyncio.Protocol):
    """Answers one request after the other."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._pieces: Iterator[bytes] | None = None
        self._began = 0.0
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._received = b""
        if head.startswith(b"GET /left "):
            self._tell_who_left()
        elif self._behaviour.delay:
            self._timer = self._loop.call_later(self._behaviour.delay, self._answer, body)
        else:
            self._answer(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pieces is not None:
            self._behaviour.left.append(time.monotonic())

    def _tell_who_left(self) -> None:
        self._transport.write(respond("200 OK", json.dumps(self._behaviour.left).encode()))
        self._behaviour.left.clear()

    def _answer(self, body: bytes) -> None:
        streamed = _STREAMED.search(body) is not None
        fault = self._behaviour.fault()
        if fault is not None:
            self._fail(fault, streamed)
        elif not streamed:
            self._transport.write(self._behaviour.whole)
        elif self._behaviour.rate:
            self._transport.write(FIRST)
            self._pieces = iter([PIECE] * self._behaviour.tokens + [LAST])
            self._began = self._loop.time()
            self._sent = 0
            self._speak()
        else:
            self._transport.write(self._behaviour.stream)

    def _speak(self) -> None:
        """Send the next token and set the timer for the one after it."""
        assert self._pieces is not None
        piece = next(self._pieces)
        self._transport.write(piece)
        self._sent += 1
        if piece is LAST:
            self._pieces = None
        else:
            self._timer = self._loop.call_at(self._began + self._sent / self._behaviour.rate, self._speak)

    def _fail(self, fault: str, streamed: bool) -> None:
        if fault in ERRORS:
            self._transport.write(ERRORS[fault])
        elif fault == "garbage":
            self._transport.write(GARBAGE if streamed else respond("200 OK", b"{oops"))
        else:
            if fault == "cut":
                answer = self._behaviour.stream if streamed else self._behaviour.whole
                self._transport.write(answer[: len(answer) // 2])
            self._transport.close()


async def serve(behaviour: Behaviour) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(behaviour), "127.0.0.1", 0, backlog=4096)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="An upstream for measurements.")
    parser.add_argument("--tokens", type=int, default=50, help="tokens of each answer")
    parser.add_argument("--rate", type=float, default=0.0, help="tokens per second of a stream; 0 = all at once")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--faults", type=float, default=0.0, help="share of answers that fail, 0 to 1")
    options = parser.parse_args()
    behaviour = Behaviour(options.tokens, options.rate, options.delay, options.faults)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(behaviour))
    else:
        uvloop.run(serve(behaviour))


if __name__ == "__main__":
    main()
