"""The README tells the truth: its settings are those of the code, its examples run, its house is the house."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import fields
from pathlib import Path

from settings import Environment, Settings
from tests.process import ROOT, served
from tests.providers import openai_wire
from tests.providers.loopback import Loopback, Turn
from tests.test_house import product_files
from upstreams.request.parameters import Parameter
from upstreams.roster import DIALECTS, PROVIDERS
from upstreams.rows import read_rows

README = (ROOT / "README.md").read_text()
TEXT = "--- [Here (a)] ---\nRed\n--- [There (b)] ---\nGreen"


def table_of_settings() -> dict[str, tuple[str, str]]:
    """Return variable → default and meaning, as the README has them."""
    part = README.partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) ?\| (.*?) \|$", part, re.MULTILINE)
    return {name: (default.strip("` "), meaning) for name, default, meaning in rows}


def test_the_table_of_settings_is_that_of_the_code() -> None:
    """Every setting stands in the README with its default and meaning, and nothing else does."""
    expected = {
        item.name.upper(): (shown(item.default), item.metadata["meaning"]) for item in fields(Settings) if item.metadata
    }
    for provider in PROVIDERS:
        expected[f"{provider.prefix}_TOKEN"] = ("", f"switches {provider.name} on")
        expected[f"{provider.prefix}_BASE_URL"] = (provider.base_url, f"where {provider.name} is")
        expected[f"{provider.prefix}_MODEL"] = (provider.model, f"the model that is asked of {provider.name}, and its id here")
    written = table_of_settings()
    assert written.pop("API_MASTER_KEY")
    assert written == expected


def shown(default: object) -> str:
    return f"{default:g}" if isinstance(default, float) else "" if default in (None, ()) else str(default)


def test_the_table_of_parameters_is_that_of_the_dialects() -> None:
    """What each provider takes stands in the README as its table of parameters has it: name, where another, and range."""
    part = README.partition("### What each provider takes")[2].partition("\n## ")[0]
    written = {cells[0]: cells[1:] for cells in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", part, re.MULTILINE)}
    assert written == table_of_parameters()


def table_of_parameters() -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for provider in PROVIDERS for name in provider.dialect.PARAMETERS)
    return {name: tuple(taken(provider.dialect.PARAMETERS.get(name), name) for provider in PROVIDERS) for name in names}


def taken(parameter: Parameter | None, name: str) -> str:
    if parameter is None:
        return "–"
    renamed = f"`{parameter.name}`" if parameter.name != name else ""
    return ": ".join(filter(None, [renamed, parameter.note])) or "yes"


def drawings() -> list[str]:
    """Return the code blocks of "How it works": the way of a request, and the house."""
    return re.findall(r"```\n(.*?)```", README.partition("## How it works")[2].partition("\n## ")[0], re.DOTALL)


def modules_drawn(house: str) -> set[str]:
    """Return the modules of a drawing: left of `#`, what begins further right than a folder, from its line on, is in it."""
    modules = set()
    folders: list[tuple[int, str]] = []
    for line in house.splitlines():
        for token in re.finditer(r"\S+", line.partition("#")[0]):
            folders = [(column, folder) for column, folder in folders if column < token.start()]
            path = "".join(folder for _, folder in folders) + token[0]
            if path.endswith("/"):
                folders.append((token.start(), token[0]))
            else:
                modules.add(path.removesuffix(".py"))
    return modules


def test_the_readme_draws_every_module() -> None:
    """Each module of the product has its place in the drawing of the house, and nothing else has."""
    there = {str(path.relative_to(ROOT).with_suffix("")) for path in product_files() if path.name != "__init__.py"}
    assert modules_drawn(drawings()[-1]) == there


def test_the_readme_draws_the_way_of_a_request() -> None:
    """The drawing passes through folders and modules that exist."""
    stations = re.findall(r"[a-z_]+/[\w/]*", drawings()[0])
    assert stations
    assert not [station for station in stations if not ((ROOT / station).is_dir() or (ROOT / f"{station}.py").is_file())]


def test_the_readme_names_every_dialect() -> None:
    """A row may say each dialect of the roster, and the README has no other."""
    sentence = next(line for line in README.splitlines() if line.startswith("A row's `dialect` is "))
    assert set(re.findall(r"`(\w+)`", sentence)) == {"dialect", *DIALECTS}


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_rows_of_the_readme_are_valid(tmp_path: Path) -> None:
    """The file of rows that the README shows is one that the service takes, whole."""
    path = tmp_path / "upstreams.toml"
    path.write_text(example("toml"))
    tokens = dict.fromkeys(re.findall(r'token = "(\w+)"', path.read_text()), "test-token")
    rows = read_rows(path, DIALECTS, Environment(tokens))
    assert [row.provider for row in rows] == ["OpenAI", "Groq", "OpenRouter", "vLLM", "Ollama", "Azure"]


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_the_examples_run(tmp_path: Path) -> None:
    """The curl and the Python of the README print the streamed sections of a panel."""
    async with Loopback(openai_wire, Turn(text=("Red",))) as a, Loopback(openai_wire, Turn(text=("Green",))) as b:
        rows = [
            f'[[upstream]]\nprovider = "{name}"\nmodel = "{id}"\nbase_url = "{at.url}"\ntoken = "T"\n'
            for name, id, at in (("Here", "a", a), ("There", "b", b))
        ]
        (tmp_path / "upstreams.toml").write_text("".join(rows))
        async with served(tmp_path, T="test-token", API_MASTER_KEY="1") as running:
            curl = await run(
                "sh", "-c", example("sh").replace("http://127.0.0.1:8000", running.url).replace("curl", "curl -sS")
            )
            python = await run(sys.executable, "-c", example("python").replace("http://127.0.0.1:8000", running.url))
    assert curl.endswith("data: [DONE]\n\n")
    assert python == TEXT
