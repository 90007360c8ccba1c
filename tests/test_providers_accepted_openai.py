"""OpenAI's own SDK accepts what the fake OpenAI sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers import faults, openai_wire
from tests.providers.loopback import Call, Loopback, Turn
from upstreams.values import Usage

openai = pytest.importorskip("openai", reason="OpenAI's SDK is not installed", exc_type=ImportError)

TEXT = Turn(text=("Hello", ", ", "wörld"), usage=Usage(prompt=8, completion=5, cached=4, reasoning=2))
CALLS = (Call("call_weather", "weather", ('{"city":', '"Oslo"}')), Call("call_now", "now"))
TOOLS = Turn(tool_calls=CALLS, finish="tool_calls")
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def provider() -> AsyncIterator[Loopback]:
    async with Loopback(openai_wire, TEXT) as provider:
        yield provider


@pytest.fixture
async def client(provider: Loopback) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(api_key="test-token", base_url=provider.url, max_retries=0, timeout=5) as client:
        yield client


async def answer(client: Any, stream: bool, **more: Any) -> Any:
    """Return the completion, put together by the SDK itself where it is streamed."""
    if not stream:
        return await client.chat.completions.create(**ASK, **more)
    async with client.chat.completions.stream(**ASK, **more, stream_options={"include_usage": True}) as events:
        return await events.get_final_completion()


@STREAMED
async def test_text(client: Any, stream: bool) -> None:
    """Text, finish reason and usage arrive."""
    completion = await answer(client, stream)

    assert completion.choices[0].message.content == "Hello, wörld"
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (8, 13)
    assert completion.usage.prompt_tokens_details.cached_tokens == 4
    assert completion.usage.completion_tokens_details.reasoning_tokens == 2


async def test_no_usage_unless_asked_for(client: Any) -> None:
    """A stream without include_usage has no usage, and the pieces arrive as they were cut."""
    chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", ", ", "wörld", None]
    assert not any(chunk.usage for chunk in chunks)


@STREAMED
async def test_parallel_tool_calls(client: Any, provider: Loopback, stream: bool) -> None:
    """Two calls keep their ids and names, and their arguments are put together."""
    provider.play(TOOLS)
    (choice,) = (await answer(client, stream)).choices

    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("call_weather", "weather", '{"city":"Oslo"}'),
        ("call_now", "now", "{}"),
    ]


@STREAMED
async def test_several_choices(client: Any, stream: bool) -> None:
    """With n = 3 there are three choices, each complete."""
    choices = (await answer(client, stream, n=3)).choices

    assert [(choice.index, choice.message.content) for choice in choices] == [(index, "Hello, wörld") for index in range(3)]


async def test_choices_interleave_as_recorded(client: Any) -> None:
    """Each choice opens right before its first piece, then they take turns, and each has its finish chunk."""
    chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True, n=2)]

    assert [chunk.choices[0].index for chunk in chunks] == [0, 0, 1, 1, 0, 1, 0, 1, 0, 1]


async def test_reasoning_of_compatible_servers(client: Any, provider: Loopback) -> None:
    """Reasoning goes by the name that DeepSeek and vLLM gave it."""
    provider.play(Turn(reasoning=("Hm", ".."), text=("Hello",)))
    whole = await answer(client, stream=False)
    chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]

    assert whole.choices[0].message.reasoning_content == "Hm.."
    assert [chunk.choices[0].delta.model_extra.get("reasoning_content") for chunk in chunks[1:3]] == ["Hm", ".."]


@STREAMED
async def test_json_mode(client: Any, provider: Loopback, stream: bool) -> None:
    """JSON mode is a text like any other, and is asked for by the SDK as it stands."""
    provider.play(Turn(text=('{"a":', "1}")))
    completion = await answer(client, stream, response_format={"type": "json_object"})

    assert completion.choices[0].message.content == '{"a":1}'
    assert provider.received[0].body["response_format"] == {"type": "json_object"}


@STREAMED
@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (401, "AuthenticationError", "invalid_request_error"),
        (404, "NotFoundError", "invalid_request_error"),
        (422, "UnprocessableEntityError", "invalid_request_error"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "server_error"),
    ],
)
async def test_errors(client: Any, provider: Loopback, stream: bool, status: int, name: str, kind: str) -> None:
    """Each status is the SDK's own exception, with the provider's words and type."""
    provider.play(faults.status(status, "so it is"))
    with pytest.raises(getattr(openai, name), match="so it is") as raised:
        await answer(client, stream)

    assert (raised.value.type, raised.value.status_code) == (kind, status)
    assert raised.value.request_id == "req_0123456789abcdef"


async def test_an_error_event_ends_the_stream(client: Any, provider: Loopback) -> None:
    """An error object among the data is an APIError after the text before it."""
    provider.play(faults.ERROR_EVENT)
    with pytest.raises(openai.APIError, match="the provider broke down"):
        await answer(client, stream=True)


async def test_a_wrong_token_is_an_authentication_error(provider: Loopback) -> None:
    """The fake's own refusal is as good as a played one."""
    async with openai.AsyncOpenAI(api_key="wrong-token", base_url=provider.url, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            await answer(client, stream=False)

    assert raised.value.code == "invalid_api_key"
