"""The settings of the service, and the only reader of `os.environ`; nothing here opens a socket or knows a provider."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from starlette.config import Config
from starlette.datastructures import Secret

T = TypeVar("T")

OPEN_ACCESS = "1"
"""The value of API_MASTER_KEY that opens the service to everybody, on purpose."""


class SettingsError(ValueError):
    """A variable or a file has a value with which the service must not start; the message names it in one line."""


def text(value: str) -> str:
    return value


def seconds(value: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError("must be a number of seconds above 0")
    return number


def milliseconds(value: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError("must be a number of milliseconds, 0 or more")
    return number


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a reader of integers between `low` and `high`, both included."""
    span = f"{low} or more" if high is None else f"from {low} to {high}"

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"must be a whole number, {span}") from None
        if number < low or (high is not None and number > high):
            raise ValueError(f"must be a whole number, {span}")
        return number

    return read


def temperature(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 2:
        raise ValueError("must be a number from 0 to 2")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return read


def origins(value: str) -> tuple[str, ...]:
    """Read a list of browser origins, separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def setting(default: T, read: Callable[[str], Any], meaning: str, *, may_be_empty: bool = False) -> T:
    """Declare one setting: the variable is the attribute's name in capitals, its text is read by `read`.

    An empty variable counts as unset, except where `may_be_empty` says that it means None: no value at all.
    """
    metadata = {"read": read, "meaning": meaning, "may_be_empty": may_be_empty}
    return field(default=default, metadata=metadata)


class Environment:
    """A read-only copy of the variables, which hands out secrets without ever showing them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def __repr__(self) -> str:
        return "Environment(…)"

    def text(self, name: str) -> str | None:
        """Return a variable's text; None when it is unset or empty."""
        return self._variables.get(name, "").strip() or None

    def is_set(self, name: str) -> bool:
        return name in self._variables

    def secret(self, name: str) -> Secret | None:
        """Return a secret from NAME, or from the file that NAME_FILE points to (the convention of container secrets)."""
        value, path = self.text(name), self.text(f"{name}_FILE")
        if value is not None and path is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set: leave one of them out")
        if path is not None:
            value = _read_secret_file(f"{name}_FILE", path)
        if value is None:
            return None
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(f"{name} must be printable ASCII, for it is sent in a header")
        return Secret(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set from outside, read and checked: seconds unless a name says ms, and bytes."""

    environment: Environment = field(default_factory=lambda: Environment({}))

    host: str | None = setting(None, text, "address to bind; 127.0.0.1, or 0.0.0.0 when the platform gives PORT")
    port: int | None = setting(None, whole(0, 65535), "port to bind; 8000")
    web_concurrency: int = setting(1, whole(1, 64), "number of worker processes")
    tls_certfile: str | None = setting(None, text, "certificate chain (PEM); with TLS_KEYFILE it turns TLS and ALPN on")
    tls_keyfile: str | None = setting(None, text, "private key (PEM) of TLS_CERTFILE")
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "the least level that is logged")
    cors_origins: tuple[str, ...] = setting((), origins, "browser origins that may call, by commas; `*` = all; off when empty")

    local_model: str = setting("auto", one_of("auto", "on", "off"), "the embedded model; auto = only when nothing else is set")
    upstreams_file: str | None = setting(None, text, "TOML file of further upstreams; `upstreams.toml` when it exists")
    panel_temperature: float | None = setting(
        0.5, temperature, "temperature of a panel when the client gives none; empty = the provider's", may_be_empty=True
    )
    panel_max_tokens: int | None = setting(
        200, whole(1), "max_tokens of a panel when the client gives none; empty = the provider's", may_be_empty=True
    )

    api_request_timeout: float = setting(120.0, seconds, "total time of one upstream call, s")
    connect_timeout: float = setting(5.0, seconds, "time to connect to an upstream, s")
    first_token_timeout: float = setting(30.0, seconds, "time until a streaming upstream says something, s")
    idle_timeout: float = setting(60.0, seconds, "longest silence between two pieces of an upstream's stream, s")
    status_hold: float = setting(10.0, seconds, "longest time the status line waits for the first word, s")
    heartbeat: float = setting(15.0, seconds, "silence towards the client that is broken by an empty chunk, s")
    section_grace_ms: float = setting(1000.0, milliseconds, "how long a section's turn waits for its model, ms")
    drain_seconds: float = setting(25.0, seconds, "time that running requests get after a stop signal, s")
    max_body_bytes: int = setting(10 * 2**20, whole(1), "largest request body, bytes")
    body_timeout: float = setting(30.0, seconds, "time for a request body to arrive, s")
    send_timeout: float = setting(30.0, seconds, "longest wait for a client that does not read, s")
    max_answer_bytes: int = setting(4 * 2**20, whole(1), "largest answer of one upstream, bytes")
    max_in_flight: int = setting(1000, whole(1), "chat requests at once, per worker")
    retries: int = setting(1, whole(0, 5), "repeated calls after a failure that may pass")
    breaker_failures: int = setting(5, whole(1), "failures in a row after which an upstream is skipped")
    breaker_seconds: float = setting(30.0, seconds, "time for which it is skipped, s")
    keep_alive_timeout: float = setting(75.0, seconds, "time for which an idle client connection is kept, s")

    @property
    def bind(self) -> tuple[str, int]:
        """The address and port to listen on: open to the network only where a platform hands out the port."""
        host = self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")
        return host, 8000 if self.port is None else self.port

    @property
    def panel_defaults(self) -> dict[str, Any]:
        """What a panel is asked with where neither the client nor a row says anything."""
        defaults = {"temperature": self.panel_temperature, "max_tokens": self.panel_max_tokens}
        return {name: value for name, value in defaults.items() if value is not None}


def read_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `variables`, by default from the process's environment and, beneath it, a `.env` file.

    Raises SettingsError with one line that names the variable.
    """
    environment = Environment(_process_variables() if variables is None else variables)
    values = {
        item.name: _read_value(environment, item.name.upper(), **item.metadata) for item in fields(Settings) if item.metadata
    }
    settings = Settings(environment=environment, **{name: value for name, value in values.items() if value is not _UNSET})
    if (settings.tls_certfile is None) != (settings.tls_keyfile is None):
        raise SettingsError("TLS_CERTFILE and TLS_KEYFILE belong together: set both or neither")
    return settings


_UNSET: Any = object()


def _read_value(environment: Environment, name: str, read: Callable[[str], Any], may_be_empty: bool, meaning: str) -> Any:
    value = environment.text(name)
    if value is None:
        return None if may_be_empty and environment.is_set(name) else _UNSET
    try:
        return read(value)
    except ValueError as error:
        reason = str(error) if str(error).startswith("must") else "must be a number"
        raise SettingsError(f"{name} {reason}, not {value!r}") from None


def _process_variables() -> dict[str, str]:
    path = Path(".env")
    development = Config(env_file=path, environ={}).file_values if path.is_file() else {}
    return {**development, **os.environ}


def _read_secret_file(name: str, path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} cannot be read: {type(error).__name__}") from None
