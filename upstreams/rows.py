"""Upstreams as data: what a row is, and how rows are read from a TOML file; the table of dialects comes from the caller."""

from __future__ import annotations

import logging
import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from settings import Environment, SettingsError
from upstreams.dialects.protocol import Dialect
from upstreams.values import ChatRequest, Json

log = logging.getLogger("rawbot")

TOKEN_PLACEHOLDER = "{token}"  # noqa: S105 - a placeholder
"""Stands in a header's value for the row's token; such a header replaces the dialect's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One upstream as data: what people call it, where it is, which dialect it speaks, what it gets by default.

    `location` is where the row is written down (file and line, or a variable), for complaints about it.
    """

    id: str
    provider: str
    model: str
    dialect: Dialect
    base_url: str
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    location: str = ""

    def __repr__(self) -> str:
        return f"Row({self.id!r})"

    def headers_to_send(self) -> dict[str, str]:
        """Return the headers of a call: the dialect's authorization, unless one of the row's own holds the token."""
        own = {name.lower(): value.replace(TOKEN_PLACEHOLDER, self.token or "") for name, value in self.headers.items()}
        carries_token = any(TOKEN_PLACEHOLDER in value for value in self.headers.values())
        return own if carries_token else {**self.dialect.headers(self.token), **own}


def read_rows(path: Path, dialects: Mapping[str, Dialect], environment: Environment) -> list[Row]:
    """Read the `[[upstream]]` tables of a file; a row whose token variable is not set is left out, and the log says so.

    Raises SettingsError with file, line and reason.
    """
    file = _File(path)
    for name in file.tables:
        if name != "upstream":
            raise file.error((name,), f"unknown table `{name}`, only [[upstream]] is known")
    tables = file.tables.get("upstream", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise file.error(("upstream",), "write [[upstream]], in double brackets")
    for number, table in enumerate(tables):
        if complaints := _complaints(table, dialects):
            keys, reason = complaints[0]
            raise file.error(("upstream", number, *keys), reason)
    return [row for number, table in enumerate(tables) if (row := _read_row(file, number, table, dialects, environment))]


def complain_about_url(value: Any) -> str | None:
    """Return what is wrong with a base URL, None when nothing is."""
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    if "?" in value or "#" in value:
        return "must end with its path: the dialect's own path goes behind it"
    if "@" in value.split("/")[2]:
        return "must not hold a password: use `token` or `headers`"
    return None if _URL.fullmatch(value) and _has_port(value) else "must have a valid host, and perhaps a port from 1 to 65535"


_URL = re.compile(
    r"""(?x)
    https?://
    (?: (?:[A-Za-z0-9_-]{1,63}\.)* [A-Za-z0-9_-]{1,63}\.?   # a name, or IPv4; what is no name makes the resolver raise
      | \[[0-9A-Fa-f:.]+\] )                                # IPv6
    (?: :[0-9]+ )?
    (?: /[!-~]* )?
    """
)


def _has_port(url: str) -> bool:
    """Tell whether there is a port that one can connect to, the scheme's own being one."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _read_row(
    file: _File, number: int, table: Mapping[str, Any], dialects: Mapping[str, Dialect], environment: Environment
) -> Row | None:
    location = file.location("upstream", number)
    id, variable = table.get("id", table["model"]), table.get("token")
    token = environment.secret(variable) if variable else None
    if variable and token is None:
        log.info("%s: %s is off, for %s is not set", location, id, variable)
        return None
    return Row(
        id=id,
        provider=table["provider"],
        model=table["model"],
        dialect=dialects[table.get("dialect", _DEFAULT_DIALECT)],
        base_url=table["base_url"],
        token=None if token is None else str(token),
        headers=table.get("headers", {}),
        defaults=table.get("defaults", {}),
        location=location,
    )


def _complain_about_text(value: Any) -> str | None:
    good = isinstance(value, str) and value.isprintable() and value == value.strip() != ""
    return None if good else "must be a text on one line that is not empty"


def _complain_about_variable(value: Any) -> str | None:
    good = isinstance(value, str) and re.fullmatch(r"[A-Z_][A-Z0-9_]*", value)
    return None if good else "must be the name of a variable, in capitals: the token itself does not belong into a file"


def _complain_about_table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be a table"


Check: TypeAlias = Callable[[Any], str | None]
"""Returns what is wrong with a value, as a phrase that follows the key's name; None when nothing is."""

_KEYS: Mapping[str, Check] = {
    "id": _complain_about_text,
    "provider": _complain_about_text,
    "model": _complain_about_text,
    "dialect": _complain_about_text,
    "base_url": complain_about_url,
    "token": _complain_about_variable,
    "headers": _complain_about_table,
    "defaults": _complain_about_table,
}
_REQUIRED = ("provider", "model", "base_url")
_DEFAULT_DIALECT = "openai"

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2"""

_NO_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_NO_DEFAULTS = frozenset({"messages", "model", "n", "stream", "stream_options", "tools", "x_rawbot"})
"""What the gateway sets itself, or what only the client that asked for it can read."""

_HELLO: Json = {"role": "user", "content": "Hello"}

_KeyPath: TypeAlias = tuple[str | int, ...]
"""The path of keys to a value in a file: ("upstream", 0, "headers", "api-key")."""


def _complaints(table: Mapping[str, Any], dialects: Mapping[str, Dialect]) -> list[tuple[_KeyPath, str]]:
    """Return what is wrong with a row, and where."""
    alone: list[tuple[_KeyPath, str]]
    alone = [((name,), reason) for name, value in table.items() if (reason := _complain_about_key(name, value))]
    alone += [((), f"`{name}` is missing") for name in _REQUIRED if name not in table]
    return alone or list(_complaints_together(table, dialects))


def _complain_about_key(name: str, value: Any) -> str | None:
    if name not in _KEYS:
        return f"unknown key `{name}`; known are {', '.join(_KEYS)}"
    reason = _KEYS[name](value)
    return f"`{name}` {reason}" if reason else None


def _complaints_together(table: Mapping[str, Any], dialects: Mapping[str, Dialect]) -> Iterator[tuple[_KeyPath, str]]:
    """Yield what is wrong with a row whose keys are right, each by itself."""
    dialect = dialects.get(table.get("dialect", _DEFAULT_DIALECT))
    if dialect is None:
        yield ("dialect",), f"unknown dialect; known are {', '.join(dialects)}"
        return
    if table["base_url"].rstrip("/").endswith(dialect.PATH):
        yield ("base_url",), f"`base_url` must end before {dialect.PATH}, which the dialect adds"
    for name, value in table.get("headers", {}).items():
        if reason := _complain_about_header(name, value, "token" in table):
            yield ("headers", name), f"the header `{name}` {reason}"
    for name, value in table.get("defaults", {}).items():
        if reason := _complain_about_default(name, value, dialect):
            yield ("defaults", name), f"`{name}` {reason}"


def _complain_about_header(name: str, value: Any, has_token: bool) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "has a name that is none"
    if name.lower() in _NO_HEADERS:
        return "is set by the gateway"
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        return "must be printable ASCII"
    if TOKEN_PLACEHOLDER in value and not has_token:
        return f"holds {TOKEN_PLACEHOLDER}, but the row has no `token`"
    return None


def _complain_about_default(name: str, value: Any, dialect: Dialect) -> str | None:
    """Return what is wrong with a default, found by translating a request with it: dialects assume checked values."""
    if name in _NO_DEFAULTS:
        return "cannot be a default: it belongs to each request"
    try:
        orjson.dumps(dialect.body("", ChatRequest((_HELLO,), {name: value})).body)
    except (TypeError, ValueError, AttributeError):
        return "has a value that this dialect cannot say"
    return None


class _File:
    """A TOML file that knows the line of each key, which the parser does not tell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = self._read().split("\n")
        self.tables = self._parse()

    def error(self, keys: _KeyPath, reason: str) -> SettingsError:
        return SettingsError(f"{self.location(*keys)}: {reason}")

    def location(self, *keys: str | int) -> str:
        return f"{self._path}:{self._line(keys)}"

    def _read(self) -> str:
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot be read: {error.strerror}") from None
        try:
            return data.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise SettingsError(f"{self._path}:{line}: not UTF-8") from None

    def _parse(self) -> dict[str, Any]:
        text = "\n".join(self._lines)
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # The parser tells the location in its message only, as "… (at line 3, column 5)" or "… (at end of document)".
            reason, _, location = str(error).rpartition(" (at ")
            found = re.match(r"line (\d+)", location)
            line = int(found[1]) if found else text.rstrip().count("\n") + 1
            raise SettingsError(f"{self._path}:{line}: {reason}") from None

    def _line(self, keys: _KeyPath) -> int:
        """Return the line of the statement with which the file, read up to there, begins to hold the key."""
        ends = self._ends_of_statements
        found = bisect_left(ends, True, key=lambda end: _holds(tomllib.loads("\n".join(self._lines[:end])), keys))
        return 1 + (ends[found - 1] if found else 0)

    @cached_property
    def _ends_of_statements(self) -> list[int]:
        """How many lines the file has up to the end of each statement: one that is not whole is no TOML."""
        ends = [0]
        for end in range(1, len(self._lines) + 1):
            with suppress(tomllib.TOMLDecodeError):
                tomllib.loads("\n".join(self._lines[ends[-1] : end]))
                ends.append(end)
        return ends[1:]


def _holds(tables: Any, keys: _KeyPath) -> bool:
    for key in keys:
        if not (key < len(tables) if isinstance(key, int) else key in tables):
            return False
        tables = tables[key]
    return True
