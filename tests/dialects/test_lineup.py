"""Two dialect modules side by side line up, and the tests leave out none of them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

from tests import every_dialect, test_every_field, test_many_answers, test_tool_round_trip
from tests.dialects import test_fuzz
from tests.dialects.test_recordings import recordings
from tests.every_dialect import EACH_DIALECT
from tests.providers import raw_client
from upstreams.roster import DIALECTS

DIALECTS_FOLDER = Path(__file__).parent.parent.parent / "upstreams" / "dialects"


def names_of(body: list[ast.stmt]) -> list[str]:
    """Return the public names that are defined, in order."""
    names = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, ast.AnnAssign | ast.Assign):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            names.append(target.id if isinstance(target, ast.Name) else "")
    return [name for name in names if not name.startswith("_")]


def test_every_dialect_is_in_the_roster() -> None:
    """The roster's table names each module of the folder by its file, and so nothing is left out that goes by the table."""
    files = {path.stem for path in DIALECTS_FOLDER.glob("*.py")} - {"__init__", "protocol"}
    assert files == set(DIALECTS)


@EACH_DIALECT
def test_dialects_line_up(dialect: str) -> None:
    """A dialect has the public names of the Protocol, in its order, and no others."""
    protocol = ast.parse((DIALECTS_FOLDER / "protocol.py").read_text())
    (promised,) = [node for node in protocol.body if isinstance(node, ast.ClassDef) and node.name == "Dialect"]

    assert names_of(ast.parse((DIALECTS_FOLDER / f"{dialect}.py").read_text()).body) == names_of(promised.body)


@EACH_DIALECT
def test_headers(dialect: str) -> None:
    """A token goes into the authorization header; without one there is none."""
    assert DIALECTS[dialect].headers("T") == {"authorization": "Bearer T"}
    assert DIALECTS[dialect].headers(None) == {}


@EACH_DIALECT
def test_an_error_is_no_good_end(dialect: str) -> None:
    """No finish reason that speaks of an error is told as `stop`."""
    assert not [word for word, end in DIALECTS[dialect].FINISH.items() if "error" in word.lower() and end == "stop"]


KNOWN: Mapping[str, Collection[str]] = {
    "tests/every_dialect.py WIRES": every_dialect.WIRES,
    "tests/every_dialect.py MODELS": every_dialect.MODELS,
    "tests/providers/raw_client.py MODELS": [name for name, wire in every_dialect.WIRES.items() if wire in raw_client.MODELS],
    "tests/recordings, a streamed answer": [name.partition("/")[0] for name in recordings(".sse")],
    "tests/recordings, a whole answer": [name.partition("/")[0] for name in recordings(".json")],
    "tests/dialects/test_fuzz.py KEYS": [*test_fuzz.KEYS, *(name for name in DIALECTS if not DIALECTS[name].PARAMETERS)],
    "tests/test_tool_round_trip.py NAME_THERE": test_tool_round_trip.NAME_THERE,
    "tests/test_tool_round_trip.py IDS": test_tool_round_trip.IDS,
    "tests/test_tool_round_trip.py FITS": test_tool_round_trip.FITS,
    **{f"tests/test_tool_round_trip.py CHOICES, {choice!r}": at for choice, at in test_tool_round_trip.CHOICES.items()},
    "tests/test_many_answers.py COUNTS": test_many_answers.COUNTS,
    **{f"tests/test_every_field.py CASES, {case!r}": at for case, (_, at) in test_every_field.CASES.items()},
}
"""What the tests know of dialects, and of which; one without PARAMETERS passes all on, so its keys are not known."""


@EACH_DIALECT
def test_the_tests_know_every_dialect(dialect: str) -> None:
    """A dialect of the roster is played, recorded and fuzzed, and the tests say what arrives at its provider."""
    lacking = [table for table, dialects in KNOWN.items() if dialect not in dialects]
    assert not lacking, f"the dialect {dialect!r} is missing in:\n" + "\n".join(lacking)
