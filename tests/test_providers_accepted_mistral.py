"""Mistral's own SDK accepts what the fake Mistral sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers import faults, mistral_wire
from tests.providers.loopback import Call, Loopback, Turn
from upstreams.values import Usage

mistral = pytest.importorskip("mistralai.client", reason="Mistral's SDK is not installed", exc_type=ImportError)
errors = pytest.importorskip("mistralai.client.errors", reason="Mistral's SDK is not installed", exc_type=ImportError)

TEXT = Turn(text=("Hello", ", ", "wörld"), usage=Usage(prompt=8, completion=5, cached=4))
CALLS = (Call("g6fVbXS8K", "weather", ('{"city":', '"Oslo"}')), Call("bAyGEuxg1", "now"))
TOOLS = Turn(tool_calls=CALLS, finish="tool_calls")
ASK: dict[str, Any] = {"model": "mistral-small-latest", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def provider() -> AsyncIterator[Loopback]:
    async with Loopback(mistral_wire, TEXT) as provider:
        yield provider


@pytest.fixture
async def client(provider: Loopback) -> AsyncIterator[Any]:
    async with mistral.Mistral(api_key="test-token", server_url=provider.url, timeout_ms=5000) as client:
        yield client


async def chunks_of(client: Any, **more: Any) -> list[Any]:
    async with await client.chat.stream_async(**{**ASK, **more}) as events:
        return [event.data async for event in events]


async def test_text_whole(client: Any) -> None:
    """Text, finish reason and usage arrive."""
    answer = await client.chat.complete_async(**ASK)

    assert (answer.choices[0].message.content, answer.choices[0].message.tool_calls) == ("Hello, wörld", None)
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 5, 13)
    assert answer.usage.prompt_tokens_details == {"cached_tokens": 4}


async def test_text_streamed(client: Any) -> None:
    """The last piece, the finish reason and the usage share a chunk, and there is no usage before it."""
    chunks = await chunks_of(client)

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", ", ", "wörld"]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None, None, None, 13]


async def test_several_choices(client: Any) -> None:
    """With n = 2 there are two choices."""
    answer = await client.chat.complete_async(**ASK, n=2)

    assert [choice.index for choice in answer.choices] == [0, 1]


async def test_thinking_whole(client: Any, provider: Loopback) -> None:
    """Content is a list of parts when the model thinks."""
    provider.play(Turn(reasoning=("Hm", ".."), text=("Hello",)))
    thinking, text = (await client.chat.complete_async(**ASK)).choices[0].message.content

    assert (thinking.thinking[0].text, thinking.closed, text.text) == ("Hm..", True, "Hello")


async def test_thinking_streamed(client: Any, provider: Loopback) -> None:
    """Content is a list in the chunks of thought, and a string in those of text."""
    provider.play(Turn(reasoning=("Hm", ".."), text=("Hello",)))
    opening, *thoughts, text = [chunk.choices[0].delta.content for chunk in await chunks_of(client)]

    assert (opening, text) == ("", "Hello")
    assert [thought[0].thinking[0].text for thought in thoughts] == ["Hm", ".."]


async def test_parallel_tool_calls_whole(client: Any, provider: Loopback) -> None:
    """A tool turn has empty content and numbered calls."""
    provider.play(TOOLS)
    (choice,) = (await client.chat.complete_async(**ASK)).choices

    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "")
    assert [described(call) for call in choice.message.tool_calls] == [
        (0, "g6fVbXS8K", "weather", '{"city":"Oslo"}'),
        (1, "bAyGEuxg1", "now", "{}"),
    ]


async def test_parallel_tool_calls_streamed(client: Any, provider: Loopback) -> None:
    """All calls arrive complete in one delta, with finish reason and usage."""
    provider.play(TOOLS)
    _, chunk = await chunks_of(client)

    assert chunk.choices[0].finish_reason == "tool_calls"
    assert chunk.usage.total_tokens == 13
    assert [described(call) for call in chunk.choices[0].delta.tool_calls] == [
        (0, "g6fVbXS8K", "weather", '{"city":"Oslo"}'),
        (1, "bAyGEuxg1", "now", "{}"),
    ]


async def test_the_hosted_model_streams_arguments_in_pieces(client: Any, provider: Loopback) -> None:
    """A call goes on under its index, with an empty name."""
    provider.play(TOOLS)
    _, *chunks = await chunks_of(client, model="zai-glm-5-2")
    calls = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks]

    assert [(call.index, call.function.name, call.function.arguments) for call in calls] == [
        (0, "weather", ""),
        (0, "", '{"city":'),
        (0, "", '"Oslo"}'),
        (1, "now", ""),
        (1, "", "{}"),
    ]


async def test_json_mode(client: Any, provider: Loopback) -> None:
    """JSON mode is a text like any other."""
    provider.play(Turn(text=('{"a":', "1}")))
    answer = await client.chat.complete_async(**ASK, response_format={"type": "json_object"})

    assert answer.choices[0].message.content == '{"a":1}'
    assert provider.received[0].body["response_format"] == {"type": "json_object"}


@STREAMED
@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "SDKError"), (401, "SDKError"), (422, "HTTPValidationError"), (429, "SDKError"), (500, "SDKError")],
)
async def test_errors(client: Any, provider: Loopback, stream: bool, status: int, name: str) -> None:
    """Each status is the SDK's own exception, with the provider's words."""
    provider.play(faults.status(status, "so it is"))
    with pytest.raises(getattr(errors, name), match="so it is") as raised:
        await (chunks_of(client) if stream else client.chat.complete_async(**ASK))

    assert raised.value.status_code == status


async def test_finish_reason_error_is_taken(client: Any, provider: Loopback) -> None:
    """Mistral's way to fail in mid-stream is a finish reason."""
    provider.play(Turn(text=("Hello",), finish="error"))

    assert (await chunks_of(client))[-1].choices[0].finish_reason == "error"


async def test_an_unknown_field_is_a_validation_error(client: Any) -> None:
    """The fake's own refusal is as good as a played one: `top_k` is in the SDK, but not in the specification."""
    with pytest.raises(errors.HTTPValidationError, match=r'"loc":\["body","top_k"\]'):
        await client.chat.complete_async(**ASK, top_k=3)


def described(call: Any) -> tuple[int, str, str, str]:
    return call.index, call.id, call.function.name, call.function.arguments
