"""AI21's own SDK accepts what the fake AI21 sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers import ai21_wire, faults
from tests.providers.loopback import Call, Loopback, Turn

ai21 = pytest.importorskip("ai21", reason="AI21's SDK is not installed", exc_type=ImportError)
chat = pytest.importorskip("ai21.models.chat", reason="AI21's SDK is not installed", exc_type=ImportError)
httpx = pytest.importorskip("httpx", reason="AI21's SDK stands on httpx", exc_type=ImportError)

# ai21 4.3.0 sends its body by a name that httpx gave up, and reads chunks by a method that it deprecated itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes/text content:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'from_dict' method is deprecated:DeprecationWarning"),
]

TEXT = Turn(text=("Hello", ", ", "wörld"))
CALLS = (Call("call_62136354", "weather", ('{"city":', '"Oslo"}')), Call("call_62136355", "now"))
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def provider() -> AsyncIterator[Loopback]:
    async with Loopback(ai21_wire, TEXT) as provider:
        yield provider


@pytest.fixture
async def client(provider: Loopback) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(verify=False) as http:
        yield ai21.AsyncAI21Client(api_key="test-token", api_host=provider.url, timeout_sec=5, http_client=http)


async def ask(client: Any, **more: Any) -> Any:
    messages = [chat.UserMessage(content="hi")]
    answer = await client.chat.completions.create(model="jamba-mini", messages=messages, **more)
    return [chunk async for chunk in answer] if more.get("stream") else answer


async def test_text_whole(client: Any) -> None:
    """Text, finish reason and usage arrive."""
    answer = await ask(client)

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello, wörld", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 5, 13)


async def test_text_streamed(client: Any) -> None:
    """The last chunk has empty content, the finish reason and the usage; the end without a newline is understood."""
    chunks = await ask(client, stream=True)

    assert [chunk.choices[0].delta.content for chunk in chunks] == [None, "Hello", ", ", "wörld", ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks[-2:]] == [None, 13]


async def test_several_choices(client: Any) -> None:
    """With n = 2 there are two choices."""
    assert [choice.index for choice in (await ask(client, n=2)).choices] == [0, 1]


async def test_parallel_tool_calls(client: Any, provider: Loopback) -> None:
    """A tool turn has null content; its calls are OpenAI's."""
    provider.play(Turn(tool_calls=CALLS, finish="tool_calls"))
    (choice,) = (await ask(client, tools=TOOLS)).choices

    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("call_62136354", "weather", '{"city":"Oslo"}'),
        ("call_62136355", "now", "{}"),
    ]


async def test_tools_are_not_streamed(client: Any) -> None:
    """The SDK's chunks have no place for tool calls, and the reference forbids the two together."""
    with pytest.raises(ai21.errors.UnprocessableEntity):
        await ask(client, tools=TOOLS, stream=True)


async def test_json_mode(client: Any, provider: Loopback) -> None:
    """JSON mode is a text like any other."""
    provider.play(Turn(text=('{"a":', "1}")))
    answer = await ask(client, response_format={"type": "json_object"})

    assert answer.choices[0].message.content == '{"a":1}'
    assert provider.received[0].body["response_format"] == {"type": "json_object"}


@STREAMED
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "Unauthorized"),
        (422, "UnprocessableEntity"),
        (429, "TooManyRequestsError"),
        (500, "AI21ServerError"),
        (503, "ServiceUnavailable"),
    ],
)
async def test_errors(client: Any, provider: Loopback, stream: bool, status: int, name: str) -> None:
    """Each status is the SDK's own exception, with the provider's words where the SDK reads them."""
    provider.play(faults.status(status, "so it is"))
    with pytest.raises(getattr(ai21.errors, name)) as raised:
        await ask(client, stream=stream)

    assert raised.value.status_code == status
    # ai21 4.3.0 reads the body of an error as if it were no async response, and fails, when a stream was asked for.
    assert stream or raised.value.details == '{"detail":"so it is"}'


async def test_an_unknown_model_is_unprocessable(client: Any) -> None:
    """The fake's own refusal is as good as a played one."""
    with pytest.raises(ai21.errors.UnprocessableEntity, match="not supported"):
        await client.chat.completions.create(model="jamba-1", messages=[chat.UserMessage(content="hi")])
