"""The whole service over real sockets, seen by the official client: `python app.py`, HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import orjson
import pytest
import trustme

from tests.gateway import KEY, QUESTION, rows_file
from tests.process import ROOT, Service, clean_environment, served
from tests.providers import openai_wire
from tests.providers.faults import ENDLESS, SILENCE, status
from tests.providers.loopback import Loopback, Turn
from tests.server.clients import http1, http2
from upstreams.values import Usage

A = Turn(text=("Good", " morning"), usage=Usage(prompt=10, completion=2))
B = Turn(text=("Bon", "jour"), usage=Usage(prompt=20, completion=3))
SECTIONS = "--- [Provider A (a)] ---\nGood morning\n--- [Provider B (b)] ---\nBonjour"
MESSAGES = QUESTION["messages"]


@asynccontextmanager
async def service(folder: Path, **variables: str) -> AsyncIterator[tuple[Service, Loopback, Loopback]]:
    """The service over two providers, a and b."""
    async with Loopback(openai_wire, A, patience=20) as a, Loopback(openai_wire, B, patience=20) as b:
        (folder / "upstreams.toml").write_text(rows_file({"a": a.url, "b": b.url}))
        async with served(folder, API_MASTER_KEY=KEY, ROW_TOKEN="test-token", **variables) as running:
            yield running, a, b


@asynccontextmanager
async def client(url: str, *, http2: bool, tls: ssl.SSLContext | None = None) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, on one version of HTTP; without TLS, HTTP/2 is spoken by prior knowledge."""
    async with (
        httpx2.AsyncClient(http1=not http2, http2=http2, verify=tls or True, trust_env=False) as http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, http_client=http, max_retries=0, timeout=20) as api,
    ):
        yield api


VERSIONS = pytest.mark.parametrize("version", [1, 2])


@VERSIONS
async def test_the_official_client_gets_whole_answers(tmp_path: Path, version: int) -> None:
    """`create` returns the sections, the summed usage and, as an extra, x_rawbot."""
    async with service(tmp_path) as (running, _, _), client(running.url, http2=version == 2) as api:
        answer = await api.chat.completions.create(model="rawbot-omnibus", messages=MESSAGES)
    assert answer.choices[0].message.content == SECTIONS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 35
    assert answer.model_extra is not None
    assert answer.model_extra["x_rawbot"]["status"] == "complete"


@VERSIONS
async def test_the_official_client_streams(tmp_path: Path, version: int) -> None:
    """`stream=True` yields chunks whose text is the whole answer's, then the usage."""
    async with service(tmp_path) as (running, _, _), client(running.url, http2=version == 2) as api:
        chunks = [
            chunk
            async for chunk in await api.chat.completions.create(
                model="rawbot-omnibus", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        ]
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == SECTIONS
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 35


@pytest.mark.parametrize("layout", ["sections", "choices"])
@VERSIONS
async def test_the_official_clients_accumulator_takes_the_stream(tmp_path: Path, version: int, layout: str) -> None:
    """`.stream()` puts the chunks together in either layout, without a complaint."""
    async with (
        service(tmp_path) as (running, _, _),
        client(running.url, http2=version == 2) as api,
        api.chat.completions.stream(model="a,b", messages=MESSAGES, extra_body={"x_rawbot": {"layout": layout}}) as stream,
    ):
        answer = await stream.get_final_completion()
    contents = [choice.message.content for choice in answer.choices]
    assert contents == ([SECTIONS] if layout == "sections" else ["Good morning", "Bonjour"])


async def test_the_official_client_speaks_http2_over_tls(tmp_path: Path) -> None:
    """With TLS_CERTFILE and TLS_KEYFILE, ALPN chooses HTTP/2."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    files = {"TLS_CERTFILE": "cert.pem", "TLS_KEYFILE": "key.pem"}
    async with service(tmp_path, **files) as (running, _, _), client(running.url, http2=True, tls=tls) as api:
        raw = await api.with_raw_response.models.list()
        assert [model.id for model in raw.parse().data] == ["rawbot-omnibus", "a", "b"]
        assert raw.http_response.http_version == "HTTP/2"


async def test_the_official_client_raises_its_own_errors(tmp_path: Path) -> None:
    """Each status arrives as the exception that a user of the client expects, with code and request id."""
    async with service(tmp_path, RETRIES="0") as (running, a, b), client(running.url, http2=False) as api:
        with pytest.raises(openai.NotFoundError) as unknown:
            await api.chat.completions.create(model="nope", messages=MESSAGES)
        with pytest.raises(openai.BadRequestError) as bad:
            await api.chat.completions.create(model="a,b", messages=MESSAGES, n=2)
        with pytest.raises(openai.AuthenticationError):
            await api.with_options(api_key="wrong").models.list()
        a.play(status(429))
        b.play(status(429))
        with pytest.raises(openai.RateLimitError) as limited:
            await api.with_options(max_retries=2).chat.completions.create(model="a,b", messages=MESSAGES, stream=True)
        assert len(a.received) == 1
    assert unknown.value.code == "model_not_found"
    assert bad.value.param == "n"
    assert limited.value.code == "rate_limit_exceeded"
    assert re.fullmatch(r"[0-9a-f]{32}", limited.value.request_id or "")


async def test_an_error_in_the_middle_of_a_stream_is_raised(tmp_path: Path) -> None:
    """A single model that breaks off after its first words makes the client raise, not end quietly."""
    async with service(tmp_path, IDLE_TIMEOUT="0.2") as (running, a, _), client(running.url, http2=False) as api:
        a.play(SILENCE)
        said: list[str] = []
        with pytest.raises(openai.APIError, match="timed out"):
            await _listen(await api.chat.completions.create(model="a", messages=MESSAGES, stream=True), said)
    assert "".join(said) == "Good morning"


def request(stream: bool) -> bytes:
    return orjson.dumps({**QUESTION, "stream": stream})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_leaving_over_http1_ends_the_upstream_calls(tmp_path: Path, stream: bool, how: str) -> None:
    """A closed or reset connection closes both upstream sockets, whether the answer is streamed or not."""
    async with service(tmp_path) as (running, a, b):
        a.play(SILENCE)
        b.play(SILENCE)
        async with http1(running.port) as user:
            body = request(stream)
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            user.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            await asyncio.gather(a.wait_for_calls(1), b.wait_for_calls(1))
            if stream:
                assert (await user.head())[0] == 200
            if how == "reset":
                user.reset()
        await asyncio.gather(a.wait_until_quiet(), b.wait_until_quiet())
        assert (a.closed_early, b.closed_early) == (1, 1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["close", "reset", "cancel"])
async def test_leaving_over_http2_ends_the_upstream_calls(tmp_path: Path, stream: bool, how: str) -> None:
    """So does a closed connection on HTTP/2, and RST_STREAM, which leaves the connection's other streams alone."""
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    async with service(tmp_path) as (running, a, b):
        a.play(SILENCE)
        b.play(SILENCE)
        async with http2(running.port) as user:
            doomed = user.request(b"/v1/chat/completions", method=b"POST", headers=headers, body=request(stream))
            await asyncio.gather(a.wait_for_calls(1), b.wait_for_calls(1))
            if how == "reset":
                user.reset()
            if how == "cancel":
                user.cancel(doomed)
                await asyncio.gather(a.wait_until_quiet(), b.wait_until_quiet())
                other = await user.finish(user.request(b"/healthz"))
                assert other.status == 200
        await asyncio.gather(a.wait_until_quiet(), b.wait_until_quiet())
        assert (a.closed_early, b.closed_early) == (1, 1)


async def test_a_stop_signal_lets_a_stream_finish_and_refuses_newcomers(tmp_path: Path) -> None:
    """After SIGTERM a running answer goes on to its end, /readyz and new requests are 503, and the exit code is 0."""
    gate = asyncio.Event()
    async with service(tmp_path) as (running, a, _), client(running.url, http2=False) as api:
        a.play(Turn(text=("one", " two"), pace={1: gate}))
        stream = await api.chat.completions.create(model="a", messages=MESSAGES, stream=True)
        first = [chunk.choices[0].delta.content async for chunk in _until_text(stream)]
        running.process.terminate()
        async with httpx2.AsyncClient(trust_env=False) as http:
            while (await http.get(f"{running.url}/readyz")).status_code != 503:
                pass
        with pytest.raises(openai.InternalServerError) as refused:
            await api.chat.completions.create(model="b", messages=MESSAGES)
        assert refused.value.response.headers["retry-after"]
        gate.set()
        rest = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(text or "" for text in first + rest) == "one two"


async def test_what_still_runs_when_the_drain_is_over_is_ended_in_the_stream(tmp_path: Path) -> None:
    """DRAIN_SECONDS after the signal a stream gets an error that the client raises; the process still exits with 0."""
    async with service(tmp_path, DRAIN_SECONDS="0.3") as (running, a, _), client(running.url, http2=False) as api:
        a.play(SILENCE)
        stream = await api.chat.completions.create(model="a", messages=MESSAGES, stream=True)
        running.process.terminate()
        with pytest.raises(openai.APIError, match="restarting"):
            await _listen(stream, [])


async def test_no_secret_reaches_the_output_at_any_level(tmp_path: Path) -> None:
    """At the most talkative log level, with failures that echo the token: no key, token, prompt or answer is printed."""
    async with service(tmp_path, LOG_LEVEL="debug", RETRIES="0") as (running, a, _), client(running.url, http2=False) as api:
        a.play(status(401, "token test-token is not valid"))
        asked: Any = [{"role": "user", "content": "private-question"}]
        answer = await api.chat.completions.create(model="a,b", messages=asked)
        assert "test-token" not in answer.model_dump_json()
        with pytest.raises(openai.AuthenticationError):
            await api.with_options(api_key="wrong-master-key").models.list()
    assert any("upstreams=a:credentials,b:ok" in line for line in running.lines)
    for secret in (KEY, "test-token", "private-question", "Bonjour", "wrong-master-key"):
        assert not [line for line in running.lines if secret in line]


async def test_hypercorns_own_command_serves_it_too(tmp_path: Path) -> None:
    """`hypercorn app:app`, typed by habit, answers as well; without our handling of signals and connections."""
    environment = {**clean_environment(), "LOCAL_MODEL": "off", "API_MASTER_KEY": KEY, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:0", "app:app"]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if found := re.search(rb"Running on (\S+)", line):
                async with client(found[1].decode(), http2=False) as api:
                    assert (await api.models.list()).data == []
                break
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_memory_is_bounded_when_a_client_does_not_read(tmp_path: Path) -> None:
    """An endless answer to a client that stops reading is held back at the upstream, not buffered in the service."""
    async with service(tmp_path, MAX_ANSWER_BYTES=str(2**40), SEND_TIMEOUT="1") as (running, a, _):
        a.play(ENDLESS)
        async with http1(running.port) as user:
            body = orjson.dumps({**QUESTION, "model": "a", "stream": True})
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            user.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            await a.wait_for_calls(1)
            before = _memory(running)
            await a.wait_until_quiet()
            assert _memory(running) - before < 32 * 2**20


async def _listen(stream: openai.AsyncStream[openai.types.chat.ChatCompletionChunk], said: list[str]) -> None:
    async for chunk in stream:
        said += [choice.delta.content or "" for choice in chunk.choices]


async def _until_text(
    stream: openai.AsyncStream[openai.types.chat.ChatCompletionChunk],
) -> AsyncIterator[openai.types.chat.ChatCompletionChunk]:
    async for chunk in stream:
        yield chunk
        if chunk.choices[0].delta.content:
            return


def _memory(running: Service) -> int:
    """Return the resident memory of the service, in bytes."""
    status_lines = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status_lines)
    assert found is not None
    return int(found[1]) * 1024
