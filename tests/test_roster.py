"""The roster: who is switched on by what, under which ids, in which order, and who answers to a model id."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import SettingsError, read_settings
from tests.every_dialect import over, row_of
from tests.gateway import Gateway, gateway
from tests.providers import openai_wire
from tests.providers.loopback import Loopback, Turn
from upstreams.dialects import openai
from upstreams.roster import PROVIDERS, check_ids, configured_rows, provider_rows
from upstreams.rows import Row

TOKENS = {f"{provider.prefix}_TOKEN": "test-token" for provider in PROVIDERS}


def row(id: str, place: str = "") -> Row:
    return Row(id=id, provider="P", model="m", dialect=openai, base_url="http://h", location=place)


def rows_of(folder: Path, text: str, **variables: str) -> list[Row]:
    path = folder / "rows.toml"
    path.write_text(text)
    return configured_rows(read_settings({"UPSTREAMS_FILE": str(path), **variables}))


def test_a_token_switches_its_provider_on() -> None:
    """Each of the three providers is on when its token is set, in the order of the table."""
    for provider in PROVIDERS:
        [on] = provider_rows(read_settings({f"{provider.prefix}_TOKEN": "test-token"}))
        assert (on.provider, on.id, on.base_url) == (provider.name, provider.model, provider.base_url)
        assert on.headers_to_send() == {"authorization": "Bearer test-token"}
    assert [on.provider for on in provider_rows(read_settings(TOKENS))] == ["Cohere", "AI21 Labs", "Mistral AI"]
    assert provider_rows(read_settings({})) == []


def test_model_and_address_of_a_provider_can_be_set() -> None:
    """COHERE_MODEL and COHERE_BASE_URL take the place of the table's."""
    [on] = provider_rows(read_settings({"COHERE_TOKEN": "t", "COHERE_MODEL": "m", "COHERE_BASE_URL": "http://h"}))
    assert (on.id, on.model, on.base_url) == ("m", "m", "http://h")


@pytest.mark.parametrize("url", ["h", "ftp://h", "http://", "http://h:0", "http://user:word@h", "http://h?a=b"])
def test_a_wrong_address_of_a_provider_stops_the_start(url: str) -> None:
    """The message names the variable, and does not repeat what may hold a password."""
    with pytest.raises(SettingsError, match=r"^MISTRAL_BASE_URL must ") as refused:
        provider_rows(read_settings({"MISTRAL_BASE_URL": url}))
    assert "word@" not in str(refused.value)


def test_rows_of_the_file_come_behind_the_providers(tmp_path: Path) -> None:
    """The panel's order is that of the providers' table, then that of the file."""
    text = "[[upstream]]\nprovider = 'P'\nmodel = '{}'\nbase_url = 'http://h'\n"
    rows = rows_of(tmp_path, text.format("z") + text.format("a"), MISTRAL_TOKEN="t", COHERE_TOKEN="t")
    assert [on.id for on in rows] == ["command-r-08-2024", "mistral-small-latest", "z", "a"]


TWICE = "[[upstream]]\nprovider = 'P'\nmodel = 'command-r-08-2024'\nbase_url = 'http://h'\n"


def test_ids_that_clash_are_told_with_both_places(tmp_path: Path) -> None:
    """Two rows of one file, or one of them and a provider's, need different ids; the start says where both stand."""
    path = tmp_path / "rows.toml"
    with pytest.raises(SettingsError) as within_file:
        rows_of(tmp_path, f"{TWICE}\n{TWICE}")
    with pytest.raises(SettingsError) as beside_provider:
        rows_of(tmp_path, TWICE, COHERE_TOKEN="t")
    words = "two upstreams have the id 'command-r-08-2024': give one of them another `id`"
    assert str(within_file.value) == f"{path}:6: {words} (see {path}:1)"
    assert str(beside_provider.value) == f"{path}:1: {words} (see COHERE_MODEL)"


def test_a_row_that_is_off_does_not_clash(tmp_path: Path) -> None:
    """Two rows may share an id where only one of them has its token."""
    rows = rows_of(tmp_path, f"{TWICE}token = 'A'\n{TWICE}token = 'B'\n", B="test-token", API_MASTER_KEY="k")
    assert [(on.id, on.token) for on in rows] == [("command-r-08-2024", "test-token")]


def test_the_embedded_rows_may_clash_too() -> None:
    """A row without a place, as those of the embedded model, is told by the other's."""
    with pytest.raises(SettingsError, match=r"^two upstreams have the id 'a': .* \(see rows\.toml:3\)$"):
        check_ids([row("a", "rows.toml:3"), row("a")])


@pytest.mark.parametrize("id", ["rawbot-omnibus", "a,b"])
def test_ids_that_mean_something_else_are_refused(tmp_path: Path, id: str) -> None:
    """The panel's own id is taken, and a comma makes a list of ids."""
    with pytest.raises(SettingsError) as refused:
        rows_of(tmp_path, f"\n[[upstream]]\nprovider = 'P'\nmodel = '{id}'\nbase_url = 'http://h'\n")
    assert str(refused.value) == (
        f"{tmp_path}/rows.toml:2: the id '{id}' is taken or has a comma: give this upstream another `id`"
    )


def asked(g: Gateway) -> list[int]:
    return [len(provider.received) for provider in g.providers]


@pytest.mark.parametrize(
    ("model", "calls", "headings"),
    [
        (None, [1, 1, 1], ["a", "b", "c"]),
        ("rawbot-omnibus", [1, 1, 1], ["a", "b", "c"]),
        ("c,a", [1, 0, 1], ["c", "a"]),
        (" b , b", [0, 1, 0], ["b"]),
        ("b", [0, 1, 0], []),
    ],
)
async def test_a_model_id_chooses_who_answers(model: str | None, calls: list[int], headings: list[str]) -> None:
    """All, a list in the client's order, or one alone, without a heading; nobody is asked twice, and nobody else at all."""
    turn = Turn(text=("hi",))
    async with gateway(turn, turn, turn) as g:
        answer = await g.ask(model=model)
    assert asked(g) == calls
    text = answer.json["choices"][0]["message"]["content"]
    assert text == ("\n".join(f"--- [Provider {id.upper()} ({id})] ---\nhi" for id in headings) or "hi")


@pytest.mark.parametrize("model", ["nope", "a,nope", "a,", ""])
async def test_an_unknown_model_names_those_that_exist(model: str) -> None:
    """One unknown id in a list is enough for 404 model_not_found, and nobody is asked."""
    async with gateway(Turn(text=("hi",))) as g:
        answer = await g.ask(model=model)
    assert answer.status == 404
    assert answer.json["error"]["code"] == "model_not_found"
    assert "rawbot-omnibus, a" in answer.json["error"]["message"]
    assert asked(g) == [0]


async def test_a_rows_defaults_stand_in_for_what_the_client_did_not_say() -> None:
    """The client's word comes before the row's, and the row's before the panel's."""
    defaults = "defaults = { temperature = 0.1, top_k = 5 }"
    async with Loopback(openai_wire, Turn(text=("hi",))) as provider, over(row_of("openai", provider.url, defaults)) as g:
        await g.ask(model="openai")
        await g.ask(model="openai", temperature=0.9)
        await g.ask(model="rawbot-omnibus")
    bodies = [received.body for received in provider.received]
    assert [(body["temperature"], body["top_k"]) for body in bodies] == [(0.1, 5), (0.9, 5), (0.1, 5)]
    assert [body.get("max_tokens") for body in bodies] == [None, None, 200]
