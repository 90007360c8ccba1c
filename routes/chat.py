"""POST /v1/chat/completions: reads a request, asks the panel, answers; the steps are done elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from secrets import token_hex

from starlette.types import Receive, Scope, Send

from gate import GateClosed
from panels.fanout import Seat, collect
from routes.completions.chunks import Chunks
from routes.completions.inbound import Inbound, check_panel, read_request
from routes.completions.layouts import ChoicesLayout, Layout, SectionsLayout
from routes.completions.outbound import sections_choices, single_choices, to_completion
from routes.http.edge import note_for_log
from routes.http.errors import ApiError, all_failed, internal_error, nobody_answered, not_found, unavailable
from routes.http.presence import ClientLeft, Departure, Presence
from routes.http.responses import send_error, send_json
from routes.service import Service, service_of
from routes.stream import Streaming, error_event, stream_answer
from upstreams.calling.upstream import Call
from upstreams.roster import UnknownModel
from upstreams.values import Answer

log = logging.getLogger("rawbot")

BUSY = "The service is busy or about to restart; please try again."


class Chat:
    """The endpoint: an ASGI application of its own, for Starlette's request and response would only stand in the way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one chat request; every way out sends a whole answer, or nothing to a client that is gone."""
        service = service_of(scope)
        presence = Presence(receive, send, service.settings.send_timeout)
        try:
            if service.gate.closed:
                raise unavailable(BUSY)
            inbound = await _read(scope, service, presence)
        except ClientLeft:
            return
        except ApiError as error:
            await send_error(send, error)
            return
        try:
            with service.gate.enter(presence.stop):
                async with presence.attended():
                    await _answer(scope, service, inbound, presence)
                    return
            note_for_log(scope, inbound.model, presence.departure)
            if presence.departure is Departure.STOPPED:
                raise unavailable("The service is restarting; please try again.")
        except GateClosed:
            await send_error(send, unavailable(BUSY))
        except ApiError as error:
            await _end_with(error, inbound, presence, send)
        except Exception:
            log.exception("a request failed by a fault of ours")
            await _end_with(internal_error(), inbound, presence, send)


async def _read(scope: Scope, service: Service, presence: Presence) -> Inbound:
    service.keys.check(scope["headers"])
    body = await presence.read_body(service.settings.max_body_bytes, service.settings.body_timeout)
    return read_request(body)


async def _answer(scope: Scope, service: Service, inbound: Inbound, presence: Presence) -> None:
    plan = _Plan(service, inbound)
    answers: list[Answer] = []
    if inbound.request.stream:
        results = await stream_answer(plan.streaming(), presence.send)
    else:
        answers = await collect(plan.calls)
        results = [answer.result for answer in answers]
    note_for_log(scope, inbound.model, results)
    if presence.answer_started:
        return
    if nobody_answered(results):
        raise all_failed(results)
    choices = sections_choices(answers) if plan.in_sections else single_choices(answers)
    await send_json(presence.send, 200, to_completion(plan.id, plan.created, inbound.model, choices, results))


async def _end_with(error: ApiError, inbound: Inbound, presence: Presence, send: Send) -> None:
    """Tell of an error: in the stream where it has begun, as an error answer where nothing has, and not at all at its end."""
    if not presence.answer_started:
        await send_error(send, error)
    elif inbound.request.stream and not presence.answer_ended:
        await send({"type": "http.response.body", "body": error_event(error), "more_body": False})


class _Plan:
    """Whom to ask, and in which shape to answer."""

    def __init__(self, service: Service, inbound: Inbound) -> None:
        settings = service.settings
        self.id = f"chatcmpl-{token_hex(16)}"
        self.created = int(time.time())
        self._inbound = inbound
        self._settings = settings
        try:
            panel = service.roster.panel(inbound.model)
        except UnknownModel as error:
            raise not_found(str(error)) from None
        if not panel:
            raise unavailable("No upstream is configured.")
        # The shape follows from what was asked for, not from how many upstreams happen to be switched on.
        single = [upstream.id for upstream in panel] == [inbound.model]
        self.in_sections = not single and inbound.layout == "sections"
        if not single:
            check_panel(inbound, service.roster.models[1:])
        defaults = {} if single else settings.panel_defaults
        self.calls: list[Call] = [call for upstream in panel for call in upstream.prepare(inbound.request, defaults)]

    def streaming(self) -> Streaming:
        chunks = Chunks(self.id, self.created, self._inbound.model, include_usage=self._inbound.include_usage)
        return Streaming(self.calls, chunks, self._layout(chunks), self._inbound.include_usage, self._settings)

    def _layout(self, chunks: Chunks) -> Callable[[Sequence[Seat]], Layout]:
        if not self.in_sections:
            return lambda seats: ChoicesLayout(chunks)
        grace = self._settings.section_grace_ms / 1000
        now = asyncio.get_running_loop().time()
        return lambda seats: SectionsLayout(chunks, seats, self._inbound.order, grace, now)
