"""Keys, models, health and errors: everything beside the chat."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from starlette.types import Message, Receive, Scope, Send

from routes.http.access_log import AccessLog
from routes.http.stock_server import UnreadBody
from tests.asgi import Exchange
from tests.gateway import KEY, gateway
from tests.providers.faults import HANG_BEFORE_HEADERS, status
from tests.providers.loopback import Turn
from upstreams.answer.sse import Event
from upstreams.dialects import openai
from upstreams.values import AnswerContext, ChatRequest, Delta, Failure, Outgoing

FINE = Turn(text=("Fine",))


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", KEY, "Bearer tëst"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/a"])
async def test_without_a_key_nothing_is_told(authorization: str | None, path: str) -> None:
    """No key or a wrong one is a 401 with `invalid_api_key` and www-authenticate, on every endpoint of the API."""
    async with gateway(FINE) as g:
        method = "POST" if "chat" in path else "GET"
        exchange = g.exchange({}, path=path, method=method)
        exchange.headers = {} if authorization is None else {"authorization": authorization}
        await exchange.run()
    assert exchange.status == 401
    assert exchange.json["error"]["code"] == "invalid_api_key"
    assert exchange.answer_headers["www-authenticate"] == "Bearer"


async def test_each_of_several_keys_opens() -> None:
    """API_MASTER_KEY may hold several keys, separated by commas; the scheme's name has no case."""
    async with gateway(FINE, API_MASTER_KEY="one, two") as g:
        for key in ("Bearer one", "bearer two"):
            assert (await g.get("/v1/models", headers={"authorization": key})).status == 200


async def test_the_service_may_be_opened_on_purpose() -> None:
    """API_MASTER_KEY=1 lets everybody in, with a key or without."""
    async with gateway(FINE, API_MASTER_KEY="1") as g:
        assert (await g.get("/v1/models", headers={"authorization": ""})).status == 200
        assert (await g.get("/v1/models")).status == 200


async def test_models_are_listed_as_openai_lists_them() -> None:
    """The list has the omnibus first and then every upstream."""
    async with gateway(FINE, FINE) as g:
        answer = (await g.get("/v1/models")).json
        single = await g.get("/v1/models/b")
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == ["rawbot-omnibus", "a", "b"]
    assert [model["owned_by"] for model in answer["data"]] == ["rawbot", "Provider A", "Provider B"]
    assert single.json == answer["data"][2]
    assert single.json["object"] == "model"


async def test_an_unknown_model_is_not_found() -> None:
    """GET /v1/models/{id} of an unknown id is 404 `model_not_found`."""
    async with gateway(FINE) as g:
        exchange = await g.get("/v1/models/org/nope")
    assert exchange.status == 404
    assert exchange.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_health_needs_no_key(path: str, method: str) -> None:
    """GET, HEAD and OPTIONS answer 200 without a key, whatever the Host."""
    async with gateway(FINE) as g:
        exchange = await g.exchange(None, path=path, method=method, headers={"authorization": "", "host": "203.0.113.9"}).run()
        assert not g.providers[0].received
    assert exchange.status == 200


async def test_the_root_introduces_the_service() -> None:
    """GET / names the service, its version and its models."""
    async with gateway(FINE) as g:
        answer = (await g.get("/")).json
    assert answer["name"] == "rawbot-2api"
    assert answer["models"] == ["rawbot-omnibus", "a"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer["version"])


async def test_draining_shows_in_readiness_and_refuses_chat() -> None:
    """Once the gate drains, /readyz and chat are 503 and /healthz stays 200."""
    async with gateway(FINE) as g:
        g.gate.drain()
        ready, health, chat = await g.get("/readyz"), await g.get("/healthz"), await g.ask()
    assert (ready.status, ready.json["status"]) == (503, "draining")
    assert health.status == 200
    assert chat.status == 503
    assert chat.answer_headers["retry-after"] == "5"


async def test_without_upstreams_nothing_is_ready() -> None:
    """With no upstream at all the service lives, says why it is not ready, and refuses chat."""
    async with gateway() as g:
        ready, health, chat = await g.get("/readyz"), await g.get("/healthz"), await g.ask()
    assert (ready.status, ready.json["status"]) == (503, "no upstream is configured")
    assert health.status == 200
    assert chat.status == 503


@pytest.mark.parametrize("path", ["/nope", "/healthz/", "/v1/chat/completions/"])
async def test_an_unknown_path_is_a_404_in_the_envelope(path: str) -> None:
    """No redirect and no text: OpenAI's error object."""
    async with gateway(FINE) as g:
        exchange = await g.get(path)
    assert exchange.status == 404
    assert exchange.json["error"] == {
        "message": f"GET {path} is unknown.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


async def test_a_wrong_method_is_a_405_with_allow() -> None:
    """The answer says which methods there are."""
    async with gateway(FINE) as g:
        exchange = await g.get("/v1/chat/completions")
    assert exchange.status == 405
    assert exchange.answer_headers["allow"] == "POST"
    assert exchange.json["error"]["type"] == "invalid_request_error"


async def test_every_answer_has_a_request_id() -> None:
    """A client's own x-request-id comes back when it is harmless; anything else is replaced."""
    async with gateway(FINE) as g:
        own = await g.get("/healthz", headers={"x-request-id": "Abc-1.2_3"})
        bad = await g.get("/nope", headers={"x-request-id": "a b"})
        long = await g.get("/v1/models", headers={"x-request-id": "a" * 129})
    assert own.answer_headers["x-request-id"] == "Abc-1.2_3"
    assert re.fullmatch(r"[0-9a-f]{32}", bad.answer_headers["x-request-id"])
    assert len(long.answer_headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "/v1/chat/completions", "wrong", 401),
        ("POST", "/v1/models", KEY, 405),
        ("POST", "/v1/unknown", KEY, 404),
    ],
)
async def test_a_refusal_does_not_wait_for_the_body(method: str, path: str, key: str, status: int) -> None:
    """A request that is refused for its head is answered while its body has not come."""
    async with gateway(FINE) as g:
        exchange = g.exchange({"a": 1}, method=method, path=path, headers={"authorization": f"Bearer {key}"})
        exchange.withhold_body()
        await exchange.run()
    assert exchange.status == status
    assert not exchange.waiting


@pytest.mark.parametrize("headers", [{}, {"content-length": "31"}])
async def test_a_body_is_too_large_as_soon_as_it_is(headers: dict[str, str]) -> None:
    """413 comes with the first byte over MAX_BODY_BYTES, or with the head that announces it, and not at the body's end."""
    async with gateway(FINE, MAX_BODY_BYTES="30") as g:
        exchange = g.exchange(chunks=[b"x" * 31, b"the rest"], headers=headers)
        exchange.withhold_the_rest()
        await exchange.run()
    assert exchange.status == 413
    assert exchange.body_is_read is not bool(headers)


async def test_under_the_stock_server_a_refused_body_is_read_before_the_answer() -> None:
    """hypercorn's own connection would hang when a body stays unread, so `hypercorn app:app` reads it; not for ever, though."""
    async with gateway(FINE) as g:
        whole = g.exchange(chunks=[b"x"] * 30, headers={"authorization": "Bearer wrong"})
        stuck = g.exchange(chunks=[b"x"] * 30, headers={"authorization": "Bearer wrong"})
        stuck.withhold_the_rest()
        for exchange in (whole, stuck):
            exchange.app = UnreadBody(g.app, seconds=0.1)
            await exchange.run()
            assert (exchange.status, exchange.body_is_read) == (401, True)
    assert stuck.waiting


async def test_one_line_of_log_per_request_without_content_or_keys(caplog: pytest.LogCaptureFixture) -> None:
    """The line has method, path, status, time, id, model and outcomes; no prompt, no answer, no token, no key."""
    caplog.set_level("DEBUG")
    async with gateway(Turn(text=("secret answer",)), Turn(text=("other",), finish="error")) as g:
        await g.ask(messages=[{"role": "user", "content": "secret question"}])
    [line] = [record.getMessage() for record in caplog.records if record.name == "rawbot.access"]
    assert re.fullmatch(
        r"POST /v1/chat/completions 200 \d+ms id=[0-9a-f]{32} model='rawbot-omnibus' upstreams=a:ok,b:broken", line
    )
    for secret in ("secret", "test-token", KEY):
        assert secret not in caplog.text


async def test_a_fault_of_ours_is_logged_and_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    """A bug, here in a dialect, is a 500 before the first word, and after it an error in the stream, before [DONE]."""
    gate = asyncio.Event()
    async with gateway(Turn(text=("first", "second"), pace={1: gate})) as g:
        [upstream] = g.state["service"].roster.upstreams
        upstream.row = replace(upstream.row, dialect=Broken())
        async with g.asking(model="a", stream=True) as streamed:
            await streamed.wait_until(lambda seen: seen.text() == "first")
            gate.set()
        whole = await g.ask(model="a")
    expected = {"message": "An internal error occurred.", "type": "server_error", "param": None, "code": None}
    assert (whole.status, whole.json["error"]) == (500, expected)
    assert streamed.events[-2:] == [{"error": expected}, "[DONE]"]
    assert caplog.text.count("ZeroDivisionError") >= 2


async def test_a_fault_of_ours_anywhere_has_an_id_and_the_envelope(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever raises before an answer has begun, the client gets a 500 whose id stands in the log, beside the traceback."""
    caplog.set_level("INFO")

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    exchange = await Exchange(AccessLog(broken), {}).run()
    assert (exchange.status, exchange.json["error"]["type"]) == (500, "server_error")
    assert exchange.json["error"].keys() == {"message", "type", "param", "code"}
    assert f"id={exchange.answer_headers['x-request-id']}" in caplog.text
    assert "ZeroDivisionError" in caplog.text


class Broken:
    """A dialect with a bug in its answers: it stumbles over whole ones, and over the second word of a stream."""

    PARAMETERS = openai.PARAMETERS
    FINISH = openai.FINISH
    PATH = openai.PATH

    class Reader(openai.Reader):
        def read(self, event: Event) -> list[Delta]:
            if b"second" in event.data:
                raise ZeroDivisionError
            return super().read(event)

    def headers(self, token: str | None) -> dict[str, str]:
        return openai.headers(token)

    def body(self, model: str, request: ChatRequest) -> Outgoing:
        return openai.body(model, request)

    def answer(self, payload: object, context: AnswerContext) -> list[Delta]:
        raise ZeroDivisionError

    def failure(self, status: int, payload: object, retry_after: float | None = None) -> Failure:
        return openai.failure(status, payload, retry_after)


async def test_websockets_are_refused() -> None:
    """There is nothing here to speak by WebSocket: the handshake is closed."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with gateway(FINE) as g:
        await g.app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close"}]


async def test_the_line_of_log_tells_how_all_failed_and_who_left(caplog: pytest.LogCaptureFixture) -> None:
    """A panel that failed as a whole, and a client that did not wait, are told in the line as well."""
    caplog.set_level("INFO", logger="rawbot.access")
    async with gateway(status(500), RETRIES="0") as g:
        await g.ask(model="a")
        g.providers[0].play(HANG_BEFORE_HEADERS)
        async with g.asking(model="a") as exchange:
            await g.providers[0].wait_for_calls(2)
            exchange.leave()
    assert "model='a' upstreams=a:broken" in caplog.text
    assert "model='a' ended='client left'" in caplog.text


async def test_an_answer_is_nobodys_to_keep_or_to_guess_at() -> None:
    """Whole answers carry `nosniff` and `no-store`, for the browser that this API may stand behind."""
    async with gateway(FINE) as g:
        headers = (await g.ask()).answer_headers
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


async def test_cors_is_off_unless_origins_are_set() -> None:
    """Only the origins of CORS_ORIGINS may call from a browser."""
    origin = {"origin": "https://chat.example"}
    preflight = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with gateway(FINE) as g:
        assert "access-control-allow-origin" not in (await g.get("/v1/models", headers=origin)).answer_headers
    async with gateway(FINE, CORS_ORIGINS="https://chat.example") as g:
        answer = await g.get("/v1/models", headers=origin)
        allowed = await g.get("/v1/chat/completions", method="OPTIONS", headers=preflight)
        other = await g.get("/v1/models", headers={"origin": "https://evil.example"})
    assert answer.answer_headers["access-control-allow-origin"] == "https://chat.example"
    assert (allowed.status, allowed.answer_headers["access-control-allow-origin"]) == (200, "https://chat.example")
    assert "access-control-allow-origin" not in other.answer_headers
