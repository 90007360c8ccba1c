"""Cohere's own SDK accepts what the fake Cohere sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers import cohere_wire, faults
from tests.providers.loopback import Call, Loopback, Turn
from upstreams.values import Usage

cohere = pytest.importorskip("cohere", reason="Cohere's SDK is not installed", exc_type=ImportError)

# cohere 7.3.1, core/unchecked_base_model.py, reads the old name of pydantic's model_fields.
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated:DeprecationWarning")

TEXT = Turn(text=("Hello", ", ", "wörld"), usage=Usage(prompt=8, completion=5, cached=4))
CALLS = (Call("weather_5fdj252rgk1f", "weather", ('{"city":', '"Oslo"}')), Call("now_vvavrb8p34fk", "now"))
ASK: dict[str, Any] = {"model": "command-r-08-2024", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def provider() -> AsyncIterator[Loopback]:
    async with Loopback(cohere_wire, TEXT) as provider:
        yield provider


@pytest.fixture
async def client(provider: Loopback) -> AsyncIterator[Any]:
    async with cohere.AsyncClientV2(api_key="test-token", base_url=provider.url, max_retries=0, timeout=5) as client:
        yield client


async def events_of(client: Any, **more: Any) -> list[Any]:
    return [event async for event in client.chat_stream(**ASK, **more)]


def deltas(events: list[Any], kind: str) -> list[Any]:
    return [event.delta.message for event in events if event.type == kind]


async def test_text_whole(client: Any) -> None:
    """Text, finish reason and both kinds of usage arrive."""
    answer = await client.chat(**ASK)

    assert [(part.type, part.text) for part in answer.message.content] == [("text", "Hello, wörld")]
    assert answer.finish_reason == "COMPLETE"
    assert (answer.usage.tokens.input_tokens, answer.usage.tokens.output_tokens) == (8, 5)
    assert answer.usage.cached_tokens == 4
    assert answer.usage.billed_units.input_tokens < 8


async def test_text_streamed(client: Any) -> None:
    """The events come in Cohere's order, with usage in the last."""
    events = await events_of(client)

    assert [event.type for event in events] == [
        "message-start",
        "content-start",
        *["content-delta"] * 3,
        "content-end",
        "message-end",
    ]
    assert "".join(message.content.text for message in deltas(events, "content-delta")) == "Hello, wörld"
    assert events[-1].delta.finish_reason == "COMPLETE"
    assert events[-1].delta.usage.tokens.output_tokens == 5


async def test_thinking_whole(client: Any, provider: Loopback) -> None:
    """A thinking block stands before the text."""
    provider.play(Turn(reasoning=("Hm", ".."), text=("Hello",)))
    thinking, text = (await client.chat(**ASK)).message.content

    assert (thinking.type, thinking.thinking) == ("thinking", "Hm..")
    assert (text.type, text.text) == ("text", "Hello")


async def test_thinking_streamed(client: Any, provider: Loopback) -> None:
    """The thinking block has index 0 and the text index 1."""
    provider.play(Turn(reasoning=("Hm", ".."), text=("Hello",)))
    found = [
        (event.index, event.delta.message.content.thinking, event.delta.message.content.text)
        for event in await events_of(client)
        if event.type == "content-delta"
    ]

    assert found == [(0, "Hm", None), (0, "..", None), (1, None, "Hello")]


async def test_parallel_tool_calls_whole(client: Any, provider: Loopback) -> None:
    """A tool turn has a plan and no content, and a call without arguments says null."""
    provider.play(Turn(text=("I will look.",), tool_calls=CALLS, finish="tool_calls"))
    answer = await client.chat(**ASK)

    assert (answer.finish_reason, answer.message.content) == ("TOOL_CALL", None)
    assert answer.message.tool_plan == "I will look."
    assert [(call.id, call.function.name, call.function.arguments) for call in answer.message.tool_calls] == [
        ("weather_5fdj252rgk1f", "weather", '{"city":"Oslo"}'),
        ("now_vvavrb8p34fk", "now", "null"),
    ]


async def test_parallel_tool_calls_streamed(client: Any, provider: Loopback) -> None:
    """The plan comes first, then one call after the other; the one without arguments has no delta."""
    provider.play(Turn(text=("I will ", "look."), tool_calls=CALLS, finish="tool_calls"))
    events = await events_of(client)

    assert [message.tool_plan for message in deltas(events, "tool-plan-delta")] == ["I will ", "look."]
    assert [(event.type, event.index) for event in events if event.type.startswith("tool-call")] == [
        ("tool-call-start", 0),
        ("tool-call-delta", 0),
        ("tool-call-delta", 0),
        ("tool-call-end", 0),
        ("tool-call-start", 1),
        ("tool-call-end", 1),
    ]
    assert [message.tool_calls.function.name for message in deltas(events, "tool-call-start")] == ["weather", "now"]
    parts = [message.tool_calls.function.arguments for message in deltas(events, "tool-call-delta")]
    assert "".join(parts) == '{"city":"Oslo"}'


async def test_json_mode(client: Any, provider: Loopback) -> None:
    """A schema goes out inside json_object, and the answer is a text."""
    provider.play(Turn(text=('{"a":', "1}")))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    answer = await client.chat(**ASK, response_format={"type": "json_object", "json_schema": schema})

    assert answer.message.content[0].text == '{"a":1}'
    assert provider.received[0].body["response_format"]["json_schema"] == schema


@STREAMED
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "UnauthorizedError"),
        (404, "NotFoundError"),
        (422, "UnprocessableEntityError"),
        (429, "TooManyRequestsError"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailableError"),
    ],
)
async def test_errors(client: Any, provider: Loopback, stream: bool, status: int, name: str) -> None:
    """Each status is the SDK's own exception, with the provider's words."""
    provider.play(faults.status(status, "so it is"))
    with pytest.raises(getattr(cohere.errors, name)) as raised:
        await (events_of(client) if stream else client.chat(**ASK))

    assert (raised.value.status_code, raised.value.body["message"]) == (status, "so it is")


async def test_a_failure_in_mid_stream_is_a_message_end(client: Any, provider: Loopback) -> None:
    """The specification's ERROR carries its reason as a string."""
    provider.play(faults.ERROR_EVENT)
    last = (await events_of(client))[-1]

    assert (last.type, last.delta.finish_reason, last.delta.error) == ("message-end", "ERROR", "the provider broke down")


async def test_an_unknown_field_is_unprocessable(client: Any) -> None:
    """The fake's own refusal is as good as a played one."""
    with pytest.raises(cohere.UnprocessableEntityError, match="parameter 'n' is not a valid field"):
        await client.chat(**ASK, request_options={"additional_body_parameters": {"n": 2}})


async def test_a_client_that_accepts_json_only_gets_bare_lines(client: Any, provider: Loopback) -> None:
    """With `accept: application/json` a stream has neither SSE framing nor [DONE], so the SDK sees no event."""
    only_json = {"additional_headers": {"accept": "application/json"}}

    assert await events_of(client, request_options=only_json) == []
