"""The design that this service replaces, rebuilt to be measured against: FastAPI, httpx, uvicorn, in an environment of its own.

As the original does: a new httpx client per call, `gather` over all providers, pydantic models both ways, only the last
message forwarded, one answer with a heading per provider; a "stream" waits for all and then types the text character by
character. Nothing is slowed down on purpose: uvicorn runs with uvloop and httptools. Most of its time goes into the new
clients, each of which loads the certificates of the world; `--pooled` shows the design without that one habit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal

import httpx
import uvicorn  # type: ignore[import-not-found]  # of its own environment, as are the next two
from fastapi import FastAPI  # type: ignore[import-not-found]
from fastapi.responses import StreamingResponse  # type: ignore[import-not-found]
from pydantic import BaseModel

TYPING_PAUSE = 0.01


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(BaseModel):
    model: str = "rawbot-omnibus"
    messages: list[Message]
    stream: bool = False


class Choice(BaseModel):
    index: int = 0
    message: Message
    finish_reason: str = "stop"


class Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatResponse(BaseModel):
    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


async def ask_anew(url: str, prompt: str) -> str:
    async with httpx.AsyncClient(timeout=120) as client:
        return await ask(client, url, prompt)


async def ask(client: httpx.AsyncClient, url: str, prompt: str) -> str:
    payload = {"model": "bench", "messages": [{"role": "user", "content": prompt}], "temperature": 0.5, "max_tokens": 200}
    response = await client.post(url, json=payload, headers={"authorization": "Bearer bench"})
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"])


async def type_out(text: str, id: str, model: str) -> AsyncIterator[str]:
    for character in text:
        choice = {"index": 0, "delta": {"content": character}, "finish_reason": None}
        chunk = {"id": id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model, "choices": [choice]}
        yield f"data: {json.dumps(chunk)}\n\n"
        await asyncio.sleep(TYPING_PAUSE)
    yield "data: [DONE]\n\n"


def create_app(urls: list[str], *, pooled: bool) -> FastAPI:
    app = FastAPI()
    call = partial(ask, httpx.AsyncClient(timeout=120)) if pooled else ask_anew

    async def chat(request: ChatRequest) -> Any:
        prompt = request.messages[-1].content
        answers = await asyncio.gather(*(call(url, prompt) for url in urls), return_exceptions=True)
        sections = (
            f"--- [Provider {number}] ---\n{f'Request failed: {answer}' if isinstance(answer, BaseException) else answer}"
            for number, answer in enumerate(answers)
        )
        text = "\n".join(sections)
        id = f"chatcmpl-{uuid.uuid4()}"
        if request.stream:
            return StreamingResponse(type_out(text, id, request.model), media_type="text/event-stream")
        choice = Choice(message=Message(role="assistant", content=text))
        return ChatResponse(id=id, created=int(time.time()), model=request.model, choices=[choice], usage=Usage())

    app.add_api_route("/v1/chat/completions", chat, methods=["POST"], response_model=None)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="The original's design.")
    parser.add_argument("--pooled", action="store_true", help="one httpx client for all calls")
    parser.add_argument("port", type=int)
    parser.add_argument("urls", nargs="+", help="where each upstream takes chat requests")
    options = parser.parse_args()
    uvicorn.run(create_app(options.urls, pooled=options.pooled), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
