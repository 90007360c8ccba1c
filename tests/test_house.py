"""The rules of the house that a machine can check: floors, names, fakes at the edges only."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from upstreams.roster import PROVIDERS

ROOT = Path(__file__).parent.parent

FLOORS = [
    {"settings", "upstreams.messages", "upstreams.sse"},
    {"upstreams.shapes", "upstreams.fields", "upstreams.breaker", "upstreams.retry"},
    {"upstreams.faults", "upstreams.conversation", "upstreams.tools"},
    {"upstreams.chunks", "upstreams.dialect"},
    {"upstreams.openai", "upstreams.cohere", "upstreams.mistral", "upstreams.ai21", "upstreams.rows"},
    {"upstreams.client", "upstreams.local_server"},
    {"upstreams.upstream"},
    {"upstreams.fanout", "upstreams.roster", "upstreams.local"},
    {"routes.errors", "routes.gate", "routes.sections", "routes.chunks"},
    {"routes.auth", "routes.checks", "routes.outbound", "routes.responses", "routes.presence"},
    {"routes.inbound", "routes.layouts", "routes.service", "routes.edge"},
    {"routes.stream"},
    {"routes.chat", "routes.models", "routes.health"},
    {"server"},
    {"app"},
]
"""From the ground up; the README draws the same house with fewer storeys."""


def product_files() -> Iterator[Path]:
    yield from [ROOT / "app.py", ROOT / "settings.py"]
    for folder in ("routes", "upstreams", "server"):
        yield from sorted((ROOT / folder).glob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def floor_of(module: str) -> int:
    name = "server" if module.startswith("server.") else module
    return next(number for number, floor in enumerate(FLOORS) if name in floor)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the product's modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in ("upstreams", "routes", "server"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", list(product_files()), ids=module_of)
def test_imports_point_down(path: Path) -> None:
    """A module imports only from floors beneath its own; within server/, which is one floor, there is no circle."""
    if path.name == "__init__.py":
        assert path.read_text() == ""
        return
    module = module_of(path)
    own = {"settings", "app"} | {module_of(file) for file in product_files()}
    for imported in own & set(imports_of(path)):
        same_room = imported.startswith("server.") and module.startswith("server.")
        assert same_room or floor_of(imported) < floor_of(module), f"{module} imports {imported}"


@pytest.mark.parametrize("path", list(product_files()), ids=module_of)
def test_no_provider_is_named_outside_its_dialect_and_the_roster(path: Path) -> None:
    """Code knows a provider only as a row; words about where a fact comes from may name one."""
    if module_of(path) in {"upstreams.roster", *(f"upstreams.{name}" for name in ("cohere", "mistral", "ai21", "openai"))}:
        return
    names = {word.lower() for provider in PROVIDERS for word in (provider.prefix, provider.name.split()[0])}
    tree = ast.parse(path.read_text())
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            words |= {str(side.value) for side in [node.left, *node.comparators] if isinstance(side, ast.Constant)}
    assert not [word for word in words if any(name in word.lower() for name in names)]


ONLY = {
    "aiohttp": {"upstreams.client"},
    "hypercorn": {"server"},
    "starlette.config": {"settings"},
}


@pytest.mark.parametrize(("package", "homes"), ONLY.items())
def test_each_library_has_one_home(package: str, homes: set[str]) -> None:
    """aiohttp is used by the client alone, hypercorn by server/ alone."""
    users = {
        module_of(path)
        for path in product_files()
        for name in imports_of(path)
        if name == package or name.startswith(f"{package}.")
    }
    assert {user.split(".")[0] if user.startswith("server.") else user for user in users} <= homes


def calls(pattern: str) -> set[str]:
    return {module_of(path) for path in product_files() if re.search(pattern, path.read_text())}


def test_the_environment_is_read_in_one_place() -> None:
    """Only settings.py touches os.environ."""
    assert calls(r"os\.environ|getenv") <= {"settings"}


def test_upstream_tasks_are_started_in_one_place() -> None:
    """Only fanout.py makes tasks that call upstreams, in a task group: gather leaves siblings running when one raises."""
    assert {name for name in calls(r"TaskGroup|create_task|ensure_future") if name.startswith("upstreams.")} == {
        "upstreams.fanout"
    }
    assert not {name for name in calls(r"asyncio\.gather") if not name.startswith("server.")}


def test_tests_mock_nothing_of_ours() -> None:
    """Fakes stand only at the two edges: no mock library, no patched attribute."""
    forbidden = re.compile(r"unittest[.]mock|import mock|monkeypatch[.]setattr|mocker[.]|[A-Z]\w*Mock\(")
    hits = [
        path.name for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__) and forbidden.search(path.read_text())
    ]
    assert not hits


def test_nothing_secret_or_local_is_kept_in_the_repository() -> None:
    """No environment file, no row file and no built thing is tracked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert not [name for name in listed.stdout.split() if re.search(r"(^|/)(\.env|upstreams\.toml)$|\.pyc$|\.gguf$", name)]
