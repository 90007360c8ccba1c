"""POST /v1/chat/completions: reads a request, asks the panel, answers; the steps are done elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from secrets import token_hex

from starlette.types import Receive, Scope, Send

from gate import GateClosed
from panels.order import AllLive, Order, SectionOrder
from panels.panel import choose_panel
from panels.run import collect
from routes.completions.answer import sections_choices, single_choices, to_completion
from routes.completions.chunk_writer import ChunkWriter
from routes.completions.layouts import ChoicesLayout, SectionsLayout
from routes.completions.request import Inbound, check_panel, read_request
from routes.http.access_log import note_outcome
from routes.http.answers import send_json
from routes.http.client import CancelReason, Client, ClientLeft
from routes.http.errors import ApiError, all_failed, internal_error, nobody_answered, not_found, unavailable
from routes.service import Service, service_of
from routes.stream import Layout, Streaming, stream_answer
from upstreams.roster import UnknownModel
from upstreams.values import Answer, Result

log = logging.getLogger("rawbot")

BUSY = "The service is busy or about to restart; please try again."
RESTARTING = "The service is restarting; please try again."


class Chat:
    """The endpoint: an ASGI application of its own, for Starlette's request and response would only stand in the way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one chat request; raises ApiError where nothing has been sent, and tells of it in a stream that has begun."""
        service = service_of(scope)
        client = Client(receive, send, service.settings.send_timeout)
        try:
            inbound = await _read(scope, service, client)
        except ClientLeft:
            return
        plan = _Plan(service, inbound)
        try:
            await _attend(scope, service, client, plan)
        except Exception as error:
            if not client.answer_started:
                raise
            if plan.streamed and not client.answer_ended:
                ending = plan.layout.error(_to_api_error(error))
                await client.send({"type": "http.response.body", "body": ending, "more_body": False})


async def _read(scope: Scope, service: Service, client: Client) -> Inbound:
    if service.gate.closed:
        raise unavailable(BUSY)
    service.keys.check(scope["headers"])
    body = await client.read_body(scope["headers"], service.settings.max_body_bytes, service.settings.body_timeout)
    return read_request(body)


async def _attend(scope: Scope, service: Service, client: Client, plan: _Plan) -> None:
    """Answer for as long as the client is there and the service runs."""
    try:
        with service.gate.enter(client.stop):
            async with client.cancel_on_disconnect():
                results = await plan.answer(client)
                note_outcome(scope, plan.model, results)
                if not client.answer_started:
                    raise all_failed(results)
                return
    except GateClosed:
        raise unavailable(BUSY) from None
    assert client.cancel_reason is not None, "only the end of its client cuts an answer short"
    note_outcome(scope, plan.model, client.cancel_reason)
    if client.cancel_reason is CancelReason.STOPPED:
        raise unavailable(RESTARTING)


class _Plan:
    """Whom to ask, and in which shape to answer."""

    def __init__(self, service: Service, inbound: Inbound) -> None:
        self._settings = service.settings
        self._id = f"chatcmpl-{token_hex(16)}"
        self._created = int(time.time())
        self._now = asyncio.get_running_loop().time()
        self.model = inbound.model
        self.streamed = inbound.request.stream
        try:
            panel = choose_panel(service.roster, inbound.model)
        except UnknownModel as error:
            raise not_found(str(error)) from None
        if not panel.upstreams:
            raise unavailable("No upstream is configured.")
        if not panel.is_single:
            check_panel(inbound, service.roster.models[1:])
        self._in_sections = not panel.is_single and inbound.layout == "sections"
        self._seats = panel.seats(inbound.request, service.settings.panel_defaults, self._now)
        self._order: Order = AllLive()
        chunks = ChunkWriter(self._id, self._created, inbound.model, include_usage=inbound.include_usage)
        self.layout: Layout = ChoicesLayout(chunks, include_usage=inbound.include_usage)
        if self._in_sections:
            grace = service.settings.section_grace_ms / 1000
            self._order = SectionOrder(len(self._seats), inbound.order, grace, self._now)
            self.layout = SectionsLayout(chunks, self._seats, include_usage=inbound.include_usage)

    async def answer(self, client: Client) -> list[Result]:
        """Run the panel and send its answer; returns how each call went. Where all failed, nothing may have been sent."""
        if self.streamed:
            return await stream_answer(Streaming(self._seats, self._order, self.layout, self._settings), client.send)
        answers = await collect(self._seats)
        results = [answer.result for answer in answers]
        if not nobody_answered(results):
            await send_json(client.send, 200, self._to_completion(answers, results))
        return results

    def _to_completion(self, answers: list[Answer], results: list[Result]) -> bytes:
        choices = sections_choices(answers) if self._in_sections else single_choices(answers)
        return to_completion(self._id, self._created, self.model, choices, results)


def _to_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    log.exception("a request failed by a fault of ours")
    return internal_error()
