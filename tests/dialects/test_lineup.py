"""Two dialect modules side by side line up."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from upstreams.dialects import ai21, cohere, mistral, openai
from upstreams.dialects.protocol import Dialect

DIALECTS_FOLDER = Path(__file__).parent.parent.parent / "upstreams" / "dialects"

DIALECTS: list[Dialect] = [ai21, cohere, mistral, openai]
"""mypy checks each module against the Protocol here."""


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


@pytest.mark.parametrize("name", ["ai21", "cohere", "mistral", "openai"])
def test_dialects_line_up(name: str) -> None:
    """A dialect has the public names of the Protocol, in its order, and no others."""
    protocol = ast.parse((DIALECTS_FOLDER / "protocol.py").read_text())
    (promised,) = [node for node in protocol.body if isinstance(node, ast.ClassDef) and node.name == "Dialect"]

    assert names_of(ast.parse((DIALECTS_FOLDER / f"{name}.py").read_text()).body) == names_of(promised.body)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_headers(dialect: Dialect) -> None:
    """A token goes into the authorization header; without one there is none."""
    assert dialect.headers("T") == {"authorization": "Bearer T"}
    assert dialect.headers(None) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_finish_reason_has_a_meaning(dialect: Dialect) -> None:
    """No error is told as a good end."""
    assert not [word for word, end in dialect.FINISH.items() if "error" in word.lower() and end == "stop"]
