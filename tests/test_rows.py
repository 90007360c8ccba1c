"""Rows from a file: what a good one becomes, and what a wrong one stops the start with, to the line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from settings import Environment, SettingsError
from tests.process import ROOT, run_to_end
from upstreams.dialects import cohere, openai
from upstreams.roster import DIALECTS
from upstreams.rows import Row, read_rows

ROW = '[[upstream]]\nprovider = "P"\nmodel = "m"\nbase_url = "http://h/v1"\n'


def read(folder: Path, text: str | bytes, **variables: str) -> list[Row]:
    path = folder / "rows.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_rows(path, DIALECTS, Environment(variables))


def test_a_row_needs_three_keys(tmp_path: Path) -> None:
    """Provider, model and base_url make a row: its id is the model, its dialect OpenAI's, and it needs no token."""
    [row] = read(tmp_path, ROW)
    assert (row.id, row.provider, row.model, row.base_url) == ("m", "P", "m", "http://h/v1")
    assert row.dialect is openai
    assert row.token is None
    assert row.headers_to_send() == {}


def test_a_row_may_say_everything(tmp_path: Path) -> None:
    """All keys arrive, in the order of the file."""
    more = 'id = "i"\ndialect = "cohere"\ntoken = "T"\nheaders = { "X-A" = "b" }\n[upstream.defaults]\ntemperature = 0\n'
    first, second = read(tmp_path, ROW + more + ROW, T="test-token")
    assert (first.id, first.dialect, first.token, first.defaults) == ("i", cohere, "test-token", {"temperature": 0})
    assert first.headers_to_send() == {"authorization": "Bearer test-token", "x-a": "b"}
    assert second.id == "m"


def test_a_header_may_take_the_token(tmp_path: Path) -> None:
    """A header with {token} stands instead of `Authorization`, for Azure refuses to get both."""
    [row] = read(tmp_path, ROW + 'token = "T"\nheaders = { "Api-Key" = "{token}", x = "y" }\n', T="test-token")
    assert row.headers_to_send() == {"api-key": "test-token", "x": "y"}


def test_a_row_keeps_its_token_to_itself(tmp_path: Path) -> None:
    """The token is not in the row's representation, which may end up in a log."""
    [row] = read(tmp_path, ROW + 'token = "T"\n', T="test-token")
    assert "test-token" not in repr(row)


def test_a_row_without_its_token_is_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A row whose variable is unset or empty is left out, and one line of log says which and why."""
    caplog.set_level(logging.INFO, "rawbot")
    rows = read(tmp_path, ROW + 'token = "T"\n\n' + ROW + 'id = "other"\ntoken = "EMPTY"\n' + ROW, EMPTY=" ")
    assert [row.id for row in rows] == ["m"]
    assert caplog.messages == [
        f"{tmp_path}/rows.toml:1: m is off, for T is not set",
        f"{tmp_path}/rows.toml:7: other is off, for EMPTY is not set",
    ]


def test_a_token_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    """NAME_FILE works for the variables of rows too."""
    (tmp_path / "secret").write_text("test-token\n")
    [row] = read(tmp_path, ROW + 'token = "T"\n', T_FILE=str(tmp_path / "secret"))
    assert row.token == "test-token"


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    """A file with nothing but comments is not wrong."""
    assert read(tmp_path, "# nothing\n") == []


SECOND = f"# a comment\n{ROW}\n[[upstream]]\nprovider = 'Q'\nmodel = 'n'\n"
"""The second row begins in line 7; it lacks a base_url, and the next line is 10."""

WRONG: dict[str, tuple[str, int, str]] = {
    "an unknown table": ("# one\n[upstreams]\n", 2, "unknown table `upstreams`, only [[upstream]] is known"),
    "an unknown key above the rows": (f"model = 'm'\n{ROW}", 1, "unknown table `model`, only [[upstream]] is known"),
    "single brackets": ("\n[upstream]\nmodel = 'm'\n", 2, "write [[upstream]], in double brackets"),
    "a list of something else": ("upstream = [1]\n", 1, "write [[upstream]], in double brackets"),
    "no provider": ("[[upstream]]\nmodel = 'm'\nbase_url = 'http://h'\n", 1, "`provider` is missing"),
    "no model": ("[[upstream]]\nprovider = 'P'\nbase_url = 'http://h'\n", 1, "`model` is missing"),
    "no base_url": (SECOND, 7, "`base_url` is missing"),
    "an unknown key": (
        f"{ROW}url = 'http://h'\n",
        5,
        "unknown key `url`; known are id, provider, model, dialect, base_url, token, headers, defaults",
    ),
    "a key of another type": (f"{SECOND}id = 7\n", 10, "`id` must be a text on one line that is not empty"),
    "an empty text": (f"{ROW}id = ''\n", 5, "`id` must be a text on one line that is not empty"),
    "a blank around a text": (f"{ROW}id = 'a '\n", 5, "`id` must be a text on one line that is not empty"),
    "a text of two lines": (
        '[[upstream]]\nprovider = """P\nQ"""\n',
        2,
        "`provider` must be a text on one line that is not empty",
    ),
    "a key after a text of several lines": (
        f'{ROW}headers.a = """\\\n [[upstream]]\\\n id = 1"""\nid = 1\n',
        8,
        "`id` must be a text on one line that is not empty",
    ),
    "an unknown dialect": (
        f"{SECOND}base_url = 'http://h'\ndialect = 'Mistral'\n",
        11,
        f"unknown dialect; known are {', '.join(DIALECTS)}",
    ),
    "a base_url without a scheme": (f"{SECOND}base_url = 'h/v1'\n", 10, "`base_url` must begin with http:// or https://"),
    "a base_url without a host": (
        f"{SECOND}base_url = 'http:///v1'\n",
        10,
        "`base_url` must have a valid host, and perhaps a port from 1 to 65535",
    ),
    "a base_url with an impossible port": (
        f"{SECOND}base_url = 'http://h:99999'\n",
        10,
        "`base_url` must have a valid host, and perhaps a port from 1 to 65535",
    ),
    "a base_url with half a name": (
        f"{SECOND}base_url = 'http://a..b'\n",
        10,
        "`base_url` must have a valid host, and perhaps a port from 1 to 65535",
    ),
    "a base_url with a blank": (
        f"{SECOND}base_url = 'http://h/a b'\n",
        10,
        "`base_url` must have a valid host, and perhaps a port from 1 to 65535",
    ),
    "a base_url with a password": (
        f"{SECOND}base_url = 'http://user:word@h'\n",
        10,
        "`base_url` must not hold a password: use `token` or `headers`",
    ),
    "a base_url with a query": (
        f"{SECOND}base_url = 'http://h/v1?api-version=1'\n",
        10,
        "`base_url` must end with its path: the dialect's own path goes behind it",
    ),
    "a base_url that goes too far": (
        f"{SECOND}base_url = 'http://h/v1/chat/completions'\n",
        10,
        "`base_url` must end before /chat/completions, which the dialect adds",
    ),
    "a base_url that goes too far for its dialect": (
        f"{SECOND}base_url = 'http://h/v2/chat/'\ndialect = 'cohere'\n",
        10,
        "`base_url` must end before /v2/chat, which the dialect adds",
    ),
    "the token itself": (
        f"{ROW}token = 'a-Token_1'\n",
        5,
        "`token` must be the name of a variable, in capitals: the token itself does not belong into a file",
    ),
    "headers that are no table": (f"{ROW}headers = 'a: b'\n", 5, "`headers` must be a table"),
    "a header with a bad name": (
        f"{ROW}[upstream.headers]\na = 'b'\n'a b' = 'c'\n",
        7,
        "the header `a b` has a name that is none",
    ),
    "a header with a bad value": (f"{ROW}headers.x = 'ä'\n", 5, "the header `x` must be printable ASCII"),
    "a header with two lines": (f'{ROW}headers = {{ x = "a\\nb" }}\n', 5, "the header `x` must be printable ASCII"),
    "a header that is a number": (f"{ROW}headers.x = 1\n", 5, "the header `x` must be printable ASCII"),
    "a header that frames the body": (
        f"{ROW}headers.Content-Length = '1'\n",
        5,
        "the header `Content-Length` is set by the gateway",
    ),
    "a header for a token that is not": (
        f"{ROW}[upstream.headers]\n\napi-key = '{{token}}'\n",
        7,
        "the header `api-key` holds {token}, but the row has no `token`",
    ),
    "defaults that are no table": (f"{ROW}defaults = 1\n", 5, "`defaults` must be a table"),
    "a default that belongs to the request": (
        f"{ROW}[upstream.defaults]\ntemperature = 1\nstream = true\n",
        7,
        "`stream` cannot be a default: it belongs to each request",
    ),
    "several answers by default": (f"{ROW}defaults.n = 2\n", 5, "`n` cannot be a default: it belongs to each request"),
    "a default of a wrong type": (
        f"{ROW}dialect = 'cohere'\ndefaults.temperature = 'hot'\n",
        6,
        "`temperature` has a value that this dialect cannot say",
    ),
    "a default that JSON cannot say": (
        f"{ROW}[upstream.defaults]\n\nseed = 99999999999999999999\n",
        7,
        "`seed` has a value that this dialect cannot say",
    ),
    "no TOML": (f"{ROW}id =\n", 5, "Invalid value"),
    "a key twice": (f"{ROW}model = 'n'\n", 5, "Cannot overwrite a value"),
    "a text without an end": (f'{ROW}\nid = """\nabc\n\n', 7, "Unterminated string"),
    "Windows' line ends": (f"{ROW}id = 1\n".replace("\n", "\r\n"), 5, "`id` must be a text on one line that is not empty"),
}


@pytest.mark.parametrize(("text", "line", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    """Each mistake is told as file, line and reason, in one line."""
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    assert str(refused.value) == f"{tmp_path}/rows.toml:{line}: {reason}"


def test_a_pasted_token_is_not_told_to_the_log(tmp_path: Path) -> None:
    """What stands where a variable's name should stand may be a secret, so the complaint does not repeat it."""
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, ROW + 'token = "not-so-Secret"\n')
    assert "Secret" not in str(refused.value)


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    """Latin-1 is not UTF-8, and the line is that of the first character that shows it."""
    with pytest.raises(SettingsError, match=r"rows\.toml:5: not UTF-8$"):
        read(tmp_path, ROW.encode() + b"id = '\xe4'\n")


@pytest.mark.parametrize(("name", "reason"), [("none.toml", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    """The system's reason is told once, beside the path."""
    path = tmp_path / name
    with pytest.raises(SettingsError) as refused:
        read_rows(path, DIALECTS, Environment({}))
    assert str(refused.value) == f"{path}: cannot be read: {reason}"


def test_the_start_stops_at_a_wrong_file(tmp_path: Path) -> None:
    """`python app.py` ends with one line that says file, line and reason, for the file that it finds by itself too."""
    (tmp_path / "upstreams.toml").write_text(f"{ROW}dialect = 'klingon'\n")
    ended = run_to_end(tmp_path)
    assert ended.returncode != 0
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert line.endswith(f"upstreams.toml:5: unknown dialect; known are {', '.join(DIALECTS)}")


def test_the_start_stops_without_the_file_that_was_named(tmp_path: Path) -> None:
    """UPSTREAMS_FILE must exist; only the default may be absent."""
    ended = run_to_end(tmp_path, UPSTREAMS_FILE="rows.toml")
    assert ended.returncode != 0
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert line.endswith("rows.toml: cannot be read: No such file or directory")


TOKENS = dict.fromkeys(("OPENAI_TOKEN", "GROQ_TOKEN", "OPENROUTER_TOKEN", "AZURE_TOKEN", "COHERE_TOKEN"), "test-token")


def test_the_example_is_right() -> None:
    """Every row of upstreams.toml.example is on once its variable is set."""
    rows = {row.provider: row for row in read_rows(ROOT / "upstreams.toml.example", DIALECTS, Environment(TOKENS))}
    assert list(rows) == ["OpenAI", "Groq", "OpenRouter", "Ollama", "vLLM", "llama.cpp", "Azure OpenAI", "Cohere"]
    assert rows["Azure OpenAI"].headers_to_send() == {"api-key": "test-token"}
    assert rows["OpenRouter"].headers_to_send() == {"authorization": "Bearer test-token", "x-title": "rawbot-2api"}
    assert rows["Ollama"].headers_to_send() == {}
    defaults: dict[str, Any] = {"temperature": 0.2, "chat_template_kwargs": {"enable_thinking": False}}
    assert rows["vLLM"].defaults == defaults


def test_the_example_waits_for_its_tokens() -> None:
    """Without any variable only the servers of one's own are on."""
    rows = read_rows(ROOT / "upstreams.toml.example", DIALECTS, Environment({}))
    assert [row.provider for row in rows] == ["Ollama", "vLLM", "llama.cpp"]
