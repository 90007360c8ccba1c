"""The settings: what is read, from where, and what stops the start."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from app import create_app
from gate import Gate
from settings import Settings, SettingsError, read_settings
from tests.gateway import rows_file
from tests.process import run_to_end


def test_the_defaults_are_those_of_the_contract() -> None:
    """Nothing set means the documented defaults."""
    settings = read_settings({})
    assert settings == Settings(environment=settings.environment)
    assert (settings.api_request_timeout, settings.connect_timeout, settings.section_grace_ms) == (120, 5, 1000)
    assert (settings.max_body_bytes, settings.max_answer_bytes, settings.max_in_flight) == (10 * 2**20, 4 * 2**20, 1000)
    assert (settings.panel_temperature, settings.panel_max_tokens) == (0.5, 200)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("127.0.0.1", 8000)),
        ({"PORT": "5000"}, ("0.0.0.0", 5000)),
        ({"HOST": "::1", "PORT": "5000"}, ("::1", 5000)),
        ({"HOST": "0.0.0.0"}, ("0.0.0.0", 8000)),
    ],
)
def test_the_network_is_open_only_where_the_platform_gives_a_port(variables: dict[str, str], expected: tuple[str, int]) -> None:
    """127.0.0.1 on a laptop, all interfaces where PORT is given, and HOST before both."""
    assert read_settings(variables).bind == expected


WRONG = [
    ("PORT", "http", "PORT must be a whole number, from 0 to 65535, not 'http'"),
    ("PORT", "70000", "PORT must be a whole number, from 0 to 65535, not '70000'"),
    ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY must be a whole number, from 1 to 64, not '0'"),
    ("CONNECT_TIMEOUT", "soon", "CONNECT_TIMEOUT must be a number, not 'soon'"),
    ("CONNECT_TIMEOUT", "-1", "CONNECT_TIMEOUT must be a number of seconds above 0, not '-1'"),
    ("HEARTBEAT", "inf", "HEARTBEAT must be a number of seconds above 0, not 'inf'"),
    ("SECTION_GRACE_MS", "-5", "SECTION_GRACE_MS must be a number of milliseconds, 0 or more, not '-5'"),
    ("MAX_BODY_BYTES", "10MiB", "MAX_BODY_BYTES must be a whole number, 1 or more, not '10MiB'"),
    ("PANEL_TEMPERATURE", "3", "PANEL_TEMPERATURE must be a number from 0 to 2, not '3'"),
    ("LOCAL_MODEL", "maybe", "LOCAL_MODEL must be one of auto, on, off, not 'maybe'"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of debug, info, warning, error, not 'loud'"),
    ("TLS_CERTFILE", "cert.pem", "TLS_CERTFILE and TLS_KEYFILE belong together: set both or neither"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_names_its_variable(name: str, value: str, message: str) -> None:
    """One line says which variable is wrong, how, and what it was."""
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})
    assert str(caught.value) == message


def test_an_empty_variable_counts_as_unset_except_where_empty_means_none() -> None:
    """Platforms set variables to nothing; only the panel's defaults take that for a value."""
    settings = read_settings({"PORT": "", "LOCAL_MODEL": "", "PANEL_TEMPERATURE": "", "PANEL_MAX_TOKENS": " "})
    assert (settings.port, settings.local_model) == (None, "auto")
    assert (settings.panel_temperature, settings.panel_max_tokens) == (None, None)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """NAME_FILE points to a file whose text, without the line's end, is the secret."""
    path = tmp_path / "token"
    path.write_text("from-a-file\n")
    secret = read_settings({"COHERE_TOKEN_FILE": str(path)}).environment.secret("COHERE_TOKEN")
    assert str(secret) == "from-a-file"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": "a", "X_FILE": "b"}, "X and X_FILE are both set: leave one of them out"),
        ({"X_FILE": "/nonexistent"}, "X_FILE cannot be read: FileNotFoundError"),
        ({"X": "line\nbreak"}, "X must be printable ASCII, for it is sent in a header"),
    ],
)
def test_a_secret_that_cannot_be_is_an_error_that_does_not_show_it(variables: dict[str, str], message: str) -> None:
    """The message names the variable and never its value."""
    with pytest.raises(SettingsError) as caught:
        read_settings(variables).environment.secret("X")
    assert str(caught.value) == message


def test_nothing_shows_a_secret() -> None:
    """Neither the settings nor a secret's repr print what they hold."""
    settings = read_settings({"COHERE_TOKEN": "hidden-token"})
    secret = settings.environment.secret("COHERE_TOKEN")
    assert "hidden-token" not in repr(settings) + repr(secret)


def test_paid_tokens_are_not_opened_to_everybody() -> None:
    """A provider's token without API_MASTER_KEY stops the start; `1` opens it on purpose."""
    token = {"COHERE_TOKEN": "test-token", "UPSTREAMS_FILE": os.devnull}
    with pytest.raises(SettingsError, match=r"^API_MASTER_KEY must be set, for a provider's token is"):
        create_app(read_settings(token), Gate(1))
    create_app(read_settings({**token, "API_MASTER_KEY": "1"}), Gate(1))


def test_a_service_that_is_open_says_so_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """API_MASTER_KEY=1 is warned about, and a value without any key in it is a mistake and no opening."""
    create_app(read_settings({"API_MASTER_KEY": "1", "UPSTREAMS_FILE": os.devnull}), Gate(1))
    assert "open to everybody" in caplog.text
    with pytest.raises(SettingsError, match="holds no key"):
        create_app(read_settings({"API_MASTER_KEY": " , ", "UPSTREAMS_FILE": os.devnull}), Gate(1))


def test_a_row_with_a_token_needs_a_key_too(tmp_path: Path) -> None:
    """A token that a row of the file names is as worth protecting."""
    path = tmp_path / "rows.toml"
    path.write_text(rows_file({"a": "http://127.0.0.1:9"}))
    with pytest.raises(SettingsError, match="API_MASTER_KEY"):
        create_app(read_settings({"UPSTREAMS_FILE": str(path), "ROW_TOKEN": "test-token"}), Gate(1))


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"PORT": "http"}, "PORT"),
        ({"COHERE_TOKEN": "test-token"}, "API_MASTER_KEY"),
        ({"COHERE_TOKEN": "x", "COHERE_BASE_URL": "ftp://x"}, "COHERE_BASE_URL"),
    ],
)
def test_a_start_that_fails_says_why_in_one_line(tmp_path: Path, variables: dict[str, str], name: str) -> None:
    """The process exits non-zero with one line that names the variable, and without a traceback."""
    ended = run_to_end(tmp_path, **variables)
    assert ended.returncode != 0
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert re.match(rf"(rawbot-2api cannot start: )?{name} must ", line)


def test_a_dotenv_file_is_read_beneath_the_environment(tmp_path: Path) -> None:
    """In development `.env` holds variables; the process's own come before them."""
    (tmp_path / ".env").write_text("PORT=beneath\nWEB_CONCURRENCY=from-dotenv\nHEARTBEAT=also\n")
    assert "'from-dotenv'" in run_to_end(tmp_path).stderr
    assert "'also'" in run_to_end(tmp_path, WEB_CONCURRENCY="1").stderr
