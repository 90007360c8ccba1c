"""The rules of the house that a machine can check: floors, names, fakes at the edges only."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from upstreams.roster import DIALECTS, PROVIDERS

ROOT = Path(__file__).parent.parent

MAY_IMPORT: Mapping[str, str] = {
    "settings": "",
    "gate": "",
    "upstreams.values": "",
    "upstreams.lenient_json": "upstreams.values",
    "upstreams.request": "upstreams.values upstreams.lenient_json",
    "upstreams.answer": "upstreams.values upstreams.lenient_json",
    "upstreams.dialects": "upstreams.values upstreams.lenient_json upstreams.request upstreams.answer",
    "upstreams.rows": "settings upstreams.values upstreams.dialects",
    "upstreams.calling": "settings upstreams.values upstreams.lenient_json upstreams.answer upstreams.dialects upstreams.rows",
    "upstreams.roster": "settings upstreams.dialects upstreams.rows upstreams.calling",
    "upstreams.local_server": "",
    "upstreams.local": "settings upstreams.dialects upstreams.rows",
    "panels": "upstreams.values upstreams.calling upstreams.roster",
    "routes.http": "settings upstreams.values",
    "routes.completions": "panels routes.http upstreams.values upstreams.answer upstreams.roster",
    "routes": "settings gate panels routes.http routes.completions upstreams.values upstreams.answer upstreams.calling "
    "upstreams.roster",
    "server": "settings gate",
    "app": "settings gate routes routes.http server upstreams.roster upstreams.local upstreams.calling",
}
"""Room → the rooms that it may import from, from the ground up; a room is a file, or a package with all that is in it."""


def product_files() -> list[Path]:
    folders = (path for name in ("routes", "panels", "upstreams", "server") for path in (ROOT / name).rglob("*.py"))
    return [ROOT / "app.py", ROOT / "settings.py", ROOT / "gate.py", *sorted(folders)]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES: Mapping[str, str] = {module_of(path): path.read_text() for path in product_files()}
"""Module → its text."""


def room_of(module: str) -> str:
    return max((room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")), key=len)


def imports_of(source: str) -> Iterator[str]:
    """Yield the names that a file imports, also inside functions; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return module → the product's modules that it imports, packages without a text of their own left out."""
    return {
        module: {name for name in imports_of(source) if sources.get(name) and name != module}
        for module, source in sources.items()
    }


def forbidden_arrows(sources: Mapping[str, str]) -> list[str]:
    return [
        f"{module} imports {imported}"
        for module, names in arrows(sources).items()
        for imported in sorted(names)
        if room_of(imported) not in {room_of(module), *MAY_IMPORT[room_of(module)].split()}
    ]


def circles(sources: Mapping[str, str]) -> list[tuple[str, ...]]:
    try:
        graphlib.TopologicalSorter(arrows(sources)).prepare()
    except graphlib.CycleError as error:
        return [tuple(error.args[1])]
    return []


def test_imports_point_down() -> None:
    """A module imports only from its own room and from those beneath it; request/ and answer/ do not know each other."""
    assert not forbidden_arrows(SOURCES)
    assert not [path for path in product_files() if path.name == "__init__.py" and path.read_text()]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nowhere in the house, within no room either, does a module import itself over others."""
    assert not circles(SOURCES)


PLANTED = [
    ("upstreams.request.tools", "from upstreams.answer.tool_calls import ToolCallAssembler"),
    ("upstreams.answer.chunks", "from upstreams.request import tools"),
    ("upstreams.roster", "import panels.run"),
    ("panels.order", "from routes.http.errors import ApiError"),
    ("panels.order", "from settings import Settings"),
    ("server.run", "from routes.chat import Chat"),
    ("server.http2", "def later(): import upstreams.values"),
]


@pytest.mark.parametrize(("module", "line"), PLANTED)
def test_a_planted_import_is_found(module: str, line: str) -> None:
    """An import that goes up, or across where it must not, is seen."""
    assert len(forbidden_arrows({**SOURCES, module: f"{SOURCES[module]}\n{line}\n"})) == 1


def test_a_planted_circle_is_found() -> None:
    """A circle inside a room is seen: server/body.py must not know server/exchange.py, which knows it."""
    planted = f"{SOURCES['server.body']}\nfrom server.exchange import Exchange\n"
    assert {"server.body", "server.exchange"} <= set(*circles({**SOURCES, "server.body": planted}))


def providers_named(source: str) -> list[str]:
    """Return the names and texts of a file's code that hold a provider's name; a docstring may say where a fact is from."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    words += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    words += [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | statements
    ]
    names = {name.lower() for provider in PROVIDERS for name in (provider.prefix, provider.name.split()[0])}
    return [word for word in words if any(name in word.lower() for name in names)]


KNOWS_PROVIDERS = {"upstreams.roster", *(f"upstreams.dialects.{name}" for name in DIALECTS)}


@pytest.mark.parametrize("module", sorted(SOURCES.keys() - KNOWS_PROVIDERS))
def test_no_provider_is_named_outside_its_dialect_and_the_roster(module: str) -> None:
    """Code knows a provider only as a row; words about where a fact comes from may name one."""
    assert not providers_named(SOURCES[module])


@pytest.mark.parametrize(
    "line",
    ['if provider.startswith("Cohere"): pass', 'x = {"MISTRAL": 1}', "match x:\n    case 'AI21 Labs': pass", "cohere.body(x)"],
)
def test_a_planted_provider_is_found(line: str) -> None:
    """However code asks for a provider, it is seen."""
    assert providers_named(f"{SOURCES['upstreams.calling.upstream']}\n{line}\n")


ONLY = {
    "aiohttp": {"upstreams.calling.http"},
    "hypercorn": {"server"},
    "starlette.config": {"settings"},
}


@pytest.mark.parametrize(("package", "homes"), ONLY.items())
def test_each_library_has_one_home(package: str, homes: set[str]) -> None:
    """aiohttp is used by calling/http.py alone, hypercorn by server/ alone."""
    users = {
        module
        for module, source in SOURCES.items()
        for name in imports_of(source)
        if name == package or name.startswith(f"{package}.")
    }
    assert {"server" if user.startswith("server.") else user for user in users} <= homes


def users_of(pattern: str) -> set[str]:
    return {module for module, source in SOURCES.items() if re.search(pattern, source)}


def test_the_environment_is_read_in_one_place() -> None:
    """Only settings.py touches the process's environment."""
    assert users_of(r"\benviron\b|getenv") <= {"settings"}


def test_upstream_tasks_are_started_in_one_place() -> None:
    """Only one file makes tasks that call upstreams, in a task group: gather leaves siblings running when one raises."""
    starters = users_of(r"TaskGroup|create_task|ensure_future")
    assert {name for name in starters if name.startswith(("upstreams.", "panels."))} == {"panels.run"}
    assert not {name for name in users_of(r"asyncio\.gather") if not name.startswith("server.")}


def test_tests_mock_nothing_of_ours() -> None:
    """Fakes stand only at the two edges: no mock library, and no attribute that pytest patches."""
    forbidden = re.compile(r"unittest[.]mock|import mock|monkeypatch[.]setattr|mocker[.]|[A-Z]\w*Mock\(")
    hits = [
        path.name for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__) and forbidden.search(path.read_text())
    ]
    assert not hits


def without_docstring(path: Path) -> Iterator[str]:
    """Yield the file, where it does not begin with a docstring, and the tests in it that do not."""
    tree = ast.parse(path.read_text())
    if tree.body and not ast.get_docstring(tree):
        yield str(path)
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    yield from (f"{path}: {node.name}" for node in functions if node.name.startswith("test_") and not ast.get_docstring(node))


def test_every_file_says_its_duty_and_every_test_its_fact() -> None:
    """Each file of the product and of the tests, unless it is empty, begins with a docstring, and so does each test."""
    files = [*product_files(), *(ROOT / "tests").rglob("*.py")]
    assert not [silent for path in files for silent in without_docstring(path)]


def test_nothing_secret_or_local_is_kept_in_the_repository() -> None:
    """No environment file, no row file and no built thing is tracked."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert not [name for name in listed.stdout.split() if re.search(r"(^|/)(\.env|upstreams\.toml)$|\.pyc$|\.gguf$", name)]
