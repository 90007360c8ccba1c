"""One upstream, ready to be called: translates a request, obeys the circuit breaker; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

import orjson
from yarl import URL

from settings import Settings
from upstreams.calling.breaker import Breaker, State
from upstreams.calling.http import Attempts, PreparedRequest, Session, Sink
from upstreams.calling.retry import NOT_COUNTED
from upstreams.rows import Row
from upstreams.values import ChatRequest, ErrorKind, Failure, Finish, Json

log = logging.getLogger("rawbot")

_OTHER_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def with_defaults(parameters: Json, defaults: Json) -> Json:
    """Return the parameters with defaults for those that are absent, also under OpenAI's other name for the same thing."""
    absent = {name: value for name, value in defaults.items() if _OTHER_NAME.get(name) not in parameters}
    return {**absent, **parameters}


class Upstream:
    """One row with its circuit breaker and its connections, ready to be called."""

    def __init__(self, row: Row, session: Session, settings: Settings) -> None:
        self.row = row
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self.session = session
        self.settings = settings
        self._url = URL(row.base_url.rstrip("/") + row.dialect.PATH)
        self._headers = row.headers_to_send()

    @property
    def provider(self) -> str:
        return self.row.provider

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def state(self) -> State:
        return self.breaker.state(asyncio.get_running_loop().time())

    def prepare(self, request: ChatRequest, defaults: Json) -> list[Call]:
        """Translate a request, with the client's parameters, else the row's defaults, else `defaults`.

        Returns one call, or `n` equal ones where the client wants n answers and the provider cannot give them at once.
        """
        parameters = with_defaults(with_defaults(request.parameters, self.row.defaults), defaults)
        outgoing = self.row.dialect.body(self.row.model, replace(request, parameters=parameters))
        times = parameters["n"] if "n" in outgoing.dropped else 1
        dropped = tuple(name for name in outgoing.dropped if name != "n")
        streamed = outgoing.body.get("stream") is True
        # A copy: orjson's own bytes keep a buffer of 4 KiB behind them, and these live as long as the call.
        body = bytes(memoryview(orjson.dumps(outgoing.body)))
        prepared = PreparedRequest(self._url, self._headers, body, streamed, self.row.dialect, outgoing.context)
        return [Call(self, prepared, dropped)] * times


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one upstream, ready to be sent."""

    upstream: Upstream
    prepared: PreparedRequest
    dropped: tuple[str, ...]

    @property
    def provider(self) -> str:
        return self.upstream.provider

    @property
    def id(self) -> str:
        return self.upstream.id

    async def run(self, sink: Sink) -> None:
        """Call, and pass the deltas to the sink: any number of pieces, at most one Usage, exactly one Finish or Failure.

        Network and provider errors end in a Failure; only bugs and CancelledError are raised.
        """
        breaker = self.upstream.breaker
        loop = asyncio.get_running_loop()
        admitted = breaker.admit(loop.time())
        if admitted is State.OPEN:
            sink([Failure(ErrorKind.SKIPPED)])
            return
        try:
            end = await Attempts(self.prepared, self.upstream.session, self.upstream.settings, sink).run()
        except BaseException:
            if admitted is State.HALF_OPEN:
                breaker.abandoned()
            raise
        counted = isinstance(end, Failure) and end.kind not in NOT_COUNTED
        if changed := breaker.failed(loop.time()) if counted else breaker.succeeded():
            log.warning("upstream %s: its breaker is %s", self.upstream.id, changed.value)
        sink([self._without_token(end)])

    def _without_token(self, end: Finish | Failure) -> Finish | Failure:
        """Redact the token in an upstream's message, whatever it looks like: some repeat the one that they refused."""
        token = self.upstream.row.token
        if isinstance(end, Failure) and token and token in end.message:
            return replace(end, message=end.message.replace(token, "…"))
        return end
