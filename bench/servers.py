"""The servers of a measurement, each as a context: upstreams, the service, the floor under it, and what it is compared with."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Running, started

CHAT = "/v1/chat/completions"


def upstream(
    *, tokens: int = 50, rate: float = 0.0, delay: float = 0.0, faults: float = 0.0
) -> AbstractContextManager[Running]:
    """Run an upstream; see bench/upstream.py."""
    options = {"tokens": tokens, "rate": rate, "delay": delay, "faults": faults}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return started([sys.executable, "-m", "bench.upstream", *arguments], LOAD_CORE)


@contextmanager
def gateway(urls: Sequence[str], cores: set[int] = SERVER_CORE, **variables: str) -> Iterator[Running]:
    """Run the service as it is deployed; its upstreams are called m1, m2, …."""
    rows = "\n".join(
        f'[[upstream]]\nprovider = "Bench"\nmodel = "m{number}"\nbase_url = "{url}/v1"\ntoken = "ROW_TOKEN"\n'
        for number, url in enumerate(urls, 1)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upstreams.toml"
        path.write_text(rows)
        settings = {"HOST": "127.0.0.1", "PORT": "0", "API_MASTER_KEY": "bench-key", "ROW_TOKEN": "bench-token"}
        with started(
            [sys.executable, str(ROOT / "app.py")], cores, {**settings, "UPSTREAMS_FILE": str(path), **variables}
        ) as up:
            yield up


def floor(urls: Sequence[str]) -> AbstractContextManager[Running]:
    """Run the bare forwarder; see bench/floor.py."""
    return started([sys.executable, "-m", "bench.floor", *_calls(urls)], SERVER_CORE)


def original(programs: Path, urls: Sequence[str], *, pooled: bool = False) -> AbstractContextManager[Running]:
    """Run the original's design; see bench/original.py."""
    port = _free_port()
    options = ["--pooled"] if pooled else []
    command = [str(programs / "python"), str(ROOT / "bench/original.py"), *options, str(port), *_calls(urls)]
    return started(command, SERVER_CORE, url=f"http://127.0.0.1:{port}")


@contextmanager
def litellm(programs: Path, urls: Sequence[str]) -> Iterator[Running]:
    """Run LiteLLM's proxy with the models `m1`, `m2`, …, and everything off that would leave this machine."""
    port = _free_port()
    models = [
        {"model_name": f"m{n}", "litellm_params": {"model": f"openai/m{n}", "api_base": f"{url}/v1", "api_key": "bench-token"}}
        for n, url in enumerate(urls, 1)
    ]
    config = {
        "model_list": models,
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": "bench-key"},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML.
        command = [str(programs / "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
        variables = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        with started(command, SERVER_CORE, variables, url=f"http://127.0.0.1:{port}") as up:
            yield up


def _calls(urls: Sequence[str]) -> list[str]:
    return [url + CHAT for url in urls]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
