"""Upstreams as data: what a row is, and how rows are read from a TOML file; who speaks which dialect is told from outside."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from settings import Environment, SettingsError
from upstreams.dialect import Dialect

TOKEN_PLACE = "{token}"  # noqa: S105 - a placeholder
"""Stands in a header's value for the row's token; such a header takes the place of the dialect's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One upstream as data: what people call it, where it is, which dialect it speaks, what it gets by default."""

    id: str
    provider: str
    model: str
    dialect: Dialect
    base_url: str
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Row({self.id!r})"

    def headers_to_send(self) -> dict[str, str]:
        """Return the headers of a call: the dialect's authorization, unless one of the row's own holds the token."""
        own = {name.lower(): value.replace(TOKEN_PLACE, self.token or "") for name, value in self.headers.items()}
        carries_token = any(TOKEN_PLACE in value for value in self.headers.values())
        return own if carries_token else {**self.dialect.headers(self.token), **own}


def read_rows(path: Path, dialects: Mapping[str, Dialect], environment: Environment) -> list[Row]:
    """Read the `[[upstream]]` tables of a file; a row whose token variable is not set is left out.

    Raises SettingsError with file, line and reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from None
    where = _Places(path, text)
    for name in tables:
        if name != "upstream":
            raise where.error(None, name, f"unknown table `{name}`, only [[upstream]] is known")
    upstreams = tables.get("upstream", [])
    if not isinstance(upstreams, list):
        raise where.error(None, "upstream", "write [[upstream]], in double brackets")
    return list(_rows(upstreams, where, dialects, environment))


def _rows(tables: list[Any], where: _Places, dialects: Mapping[str, Dialect], environment: Environment) -> Iterator[Row]:
    for number, table in enumerate(tables):
        _check(number, table, where, dialects)
        variable = table.get("token")
        token = environment.secret(variable) if variable else None
        if variable and token is None:
            continue
        yield Row(
            id=table.get("id", table["model"]),
            provider=table["provider"],
            model=table["model"],
            dialect=dialects[table.get("dialect", "openai")],
            base_url=table["base_url"],
            token=None if token is None else str(token),
            headers=table.get("headers", {}),
            defaults=table.get("defaults", {}),
        )


_MEMBERS: Mapping[str, type[Any]] = {
    "id": str,
    "provider": str,
    "model": str,
    "dialect": str,
    "base_url": str,
    "token": str,
    "headers": dict,
    "defaults": dict,
}
_REQUIRED = ("provider", "model", "base_url")
_RESERVED = frozenset({"model", "messages", "stream", "stream_options"})


def _check(number: int, table: Any, where: _Places, dialects: Mapping[str, Dialect]) -> None:
    for name, value in table.items():
        if reason := _complaint(name, value, dialects):
            raise where.error(number, name, reason)
    for name in _REQUIRED:
        if name not in table:
            raise where.error(number, None, f"`{name}` is missing")


def _complaint(name: str, value: Any, dialects: Mapping[str, Dialect]) -> str | None:
    """Return what is wrong with one key of a row, None when nothing is."""
    if name not in _MEMBERS:
        return f"unknown key `{name}`; known are {', '.join(_MEMBERS)}"
    if not isinstance(value, _MEMBERS[name]) or not value:
        return f"`{name}` must be {'a text' if _MEMBERS[name] is str else 'a table'} that is not empty"
    if name == "dialect" and value not in dialects:
        return f"unknown dialect; known are {', '.join(dialects)}"
    if name == "base_url" and not value.startswith(("http://", "https://")):
        return "`base_url` must begin with http:// or https://"
    if name == "headers" and (bad := [header for header, words in value.items() if not _is_header(header, words)]):
        return f"the header `{bad[0]}` must be printable ASCII"
    if name == "defaults" and (reserved := _RESERVED & value.keys()):
        return f"`{min(reserved)}` is not a default: the gateway sets it"
    return None


def _is_header(name: str, words: Any) -> bool:
    return isinstance(words, str) and f"{name}{words}".isascii() and f"{name}{words}".isprintable()


class _Places:
    """Finds the line of a key, which the TOML parser does not tell."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def error(self, table: int | None, key: str | None, reason: str) -> SettingsError:
        return SettingsError(f"{self._path}:{self._line(table, key)}: {reason}")

    def _line(self, table: int | None, key: str | None) -> int:
        heads = [place for place, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*upstream\s*\]\]", line)]
        start = heads[table] if table is not None and table < len(heads) else 0
        if key is not None:
            named = re.compile(rf"""\s*\[*\s*(?:upstream\.)?["']?{re.escape(key)}["']?\s*[=.\]]""")
            for place in range(start, len(self._lines)):
                if named.match(self._lines[place]):
                    return place + 1
        return start + 1
