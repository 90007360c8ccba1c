"""The table of upstreams: which providers there are, which of them are switched on, and who answers to which model id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from settings import Environment, Settings, SettingsError
from upstreams.calling.upstream import Upstream
from upstreams.dialects import ai21, cohere, mistral, openai
from upstreams.dialects.protocol import Dialect
from upstreams.rows import Row, complain_about_url, read_rows

OMNIBUS = "rawbot-omnibus"
"""The model id behind which every upstream that is switched on answers."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that a token in the environment switches on; `prefix` begins the names of its variables."""

    name: str
    prefix: str
    base_url: str
    model: str
    dialect: Dialect


PROVIDERS = (
    Provider("Cohere", "COHERE", "https://api.cohere.com", "command-r-08-2024", cohere),
    # AI21 announced the end of this API for 2026-08-09; the row stays, and a call that fails is one short section.
    Provider("AI21 Labs", "AI21", "https://api.ai21.com/studio/v1", "jamba-mini", ai21),
    Provider("Mistral AI", "MISTRAL", "https://api.mistral.ai/v1", "mistral-small-latest", mistral),
)

ADVICE = "set {}_TOKEN or {}_TOKEN, or write upstreams.toml".format(
    "_TOKEN, ".join(provider.prefix for provider in PROVIDERS[:-1]), PROVIDERS[-1].prefix
)
"""What to do when there is nobody to ask."""

DIALECTS: Mapping[str, Dialect] = {"openai": openai, "cohere": cohere, "mistral": mistral, "ai21": ai21}

DEFAULT_FILE = "upstreams.toml"


def configured_rows(settings: Settings) -> list[Row]:
    """Return every row that the environment and the file switch on; raises SettingsError."""
    rows = provider_rows(settings)
    path = Path(settings.upstreams_file or DEFAULT_FILE)
    if settings.upstreams_file or path.is_file():
        rows += read_rows(path, DIALECTS, settings.environment)
    check_ids(rows)
    return rows


def provider_rows(settings: Settings) -> list[Row]:
    """Return the rows of the providers whose tokens are set."""
    rows = (_provider_row(provider, settings.environment) for provider in PROVIDERS)
    return [row for row in rows if row is not None]


def _provider_row(provider: Provider, environment: Environment) -> Row | None:
    variable = f"{provider.prefix}_BASE_URL"
    base_url = environment.text(variable) or provider.base_url
    if reason := complain_about_url(base_url):
        raise SettingsError(f"{variable} {reason}")
    token = environment.secret(f"{provider.prefix}_TOKEN")
    if token is None:
        return None
    variable = f"{provider.prefix}_MODEL"
    model = environment.text(variable) or provider.model
    return Row(
        id=model,
        provider=provider.name,
        model=model,
        dialect=provider.dialect,
        base_url=base_url,
        token=str(token),
        location=variable,
    )


def check_ids(rows: Iterable[Row]) -> None:
    """Raise SettingsError where an id could not be asked for, or would mean two upstreams."""
    seen: dict[str, Row] = {}
    for row in rows:
        if row.id == OMNIBUS or "," in row.id:
            raise _wrong_id(row, f"the id {row.id!r} is taken or has a comma: give this upstream another `id`")
        if other := seen.get(row.id):
            see = f" (see {other.location})" if other.location else ""
            raise _wrong_id(row, f"two upstreams have the id {row.id!r}: give one of them another `id`{see}")
        seen[row.id] = row


def _wrong_id(row: Row, reason: str) -> SettingsError:
    return SettingsError(f"{row.location}: {reason}" if row.location else reason)


class UnknownModel(LookupError):
    """A client asked for a model that is not here."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(f"The model `{model}` does not exist; there are: {', '.join(known)}")


class Roster:
    """The upstreams that are switched on, in configured order."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self.upstreams = tuple(upstreams)
        self._by_id = {upstream.id: upstream for upstream in self.upstreams}

    @property
    def models(self) -> list[str]:
        """The ids that a client may ask for, besides lists of them."""
        return [OMNIBUS, *self._by_id] if self._by_id else []

    def panel(self, model: str) -> tuple[Upstream, ...]:
        """Return who answers to a model id or to a list of them; raises UnknownModel."""
        if model == OMNIBUS:
            return self.upstreams
        names = list(dict.fromkeys(name.strip() for name in model.split(",")))
        for name in names:
            if name not in self._by_id:
                raise UnknownModel(name, self.models)
        return tuple(self._by_id[name] for name in names)
