"""Tools through the whole gateway, there and back, at each dialect and from one to another; thoughts come along.

The official client stands on one side, providers as strict as the real ones on the other: a word that one of them does not
know is a 422 here, and so a failed test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from tests.every_dialect import EACH_DIALECT, WIRES, client_of, over, row_of, speaking
from tests.gateway import KEY
from tests.process import served
from tests.providers.loopback import Call, Loopback, Turn
from upstreams.roster import DIALECTS
from upstreams.values import Usage

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
WEATHER: dict[str, Any] = {"type": "function", "function": {"name": "get-weather", "description": "…", "parameters": CITY}}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "time", "description": "…", "parameters": NOTHING}}
TOOLS = [WEATHER, TIME]
QUESTION: dict[str, Any] = {"role": "user", "content": "Weather and time in Oslo?"}
ANSWER = Turn(text=("15 °C, ", "noon."), usage=Usage(prompt=30, completion=4))

NAME_THERE = {"openai": "get-weather", "cohere": "get_weather", "mistral": "get-weather", "ai21": "get-weather"}
"""What the provider calls the tool: Cohere refuses the hyphen."""

IDS = {
    "openai": ("call_weather", "call_time"),
    "cohere": ("get_weather_5fdj252rgk1f", "time_5fdj252rgk1f"),
    "mistral": ("g6fVbXS8K", "D681PevKs"),
    "ai21": ("call_62136354", "call_62136355"),
}
"""The ids of two calls, each as the provider makes them."""

FITS = {"openai": r".+", "cohere": r".+", "mistral": r"[A-Za-z0-9]{9}", "ai21": r".+"}

THOUGHTLESS = {"ai21"}
"""Dialects whose provider has no place for what a model thinks."""

STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def calling(dialect: str) -> Turn:
    """Two calls at once, one of them of a tool without parameters."""
    first, second = IDS[dialect]
    calls = (Call(first, NAME_THERE[dialect], ('{"city":', '"Oslo"}')), Call(second, "time"))
    return Turn(tool_calls=calls, finish="tool_calls", usage=Usage(prompt=20, completion=9))


async def complete(api: openai.AsyncOpenAI, *, stream: bool, **fields: Any) -> ChatCompletion:
    """Ask, and return the completion, put together by the client's own code where it is streamed."""
    if not stream:
        whole: ChatCompletion = await api.chat.completions.create(**fields)
        return whole
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    chunks = await api.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True})
    async for chunk in chunks:
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def made(completion: ChatCompletion, choice: int = 0) -> list[tuple[str, str, str]]:
    """Return the calls as the client sees them: id, name, arguments."""
    calls = completion.choices[choice].message.tool_calls or []
    return [(call.id, call.function.name, call.function.arguments) for call in calls if call.type == "function"]


def results_of(completion: ChatCompletion) -> list[dict[str, Any]]:
    """Run the tools as a client would."""
    outcome = {"get-weather": "15 °C", "time": "12:00"}
    return [{"role": "tool", "tool_call_id": id, "content": outcome[name]} for id, name, _ in made(completion)]


def dropped_of(completion: ChatCompletion) -> list[str]:
    assert completion.model_extra is not None
    dropped: list[str] = completion.model_extra["x_rawbot"]["results"][0]["dropped_params"]
    return dropped


def check_history(dialect: str, body: Mapping[str, Any]) -> None:
    """The provider gets its own names and ids it takes, the same in the calls and in their results."""
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "tool"]
    _, calls, *results = body["messages"]
    ids = [call["id"] for call in calls["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == ids
    assert len(set(ids)) == 2
    assert all(re.fullmatch(FITS[dialect], id) for id in ids)
    assert [result["content"] for result in results] == ["15 °C", "12:00"]
    functions = [call["function"] for call in calls["tool_calls"]]
    assert [(function["name"], function["arguments"]) for function in functions] == [
        (NAME_THERE[dialect], '{"city":"Oslo"}'),
        ("time", "{}"),
    ]
    assert [tool["function"]["name"] for tool in body["tools"]] == [NAME_THERE[dialect], "time"]


@STREAMED
@EACH_DIALECT
async def test_tools_go_round(dialect: str, stream: bool) -> None:
    """Question, two calls at once, two results, answer; the client sees its own names, `{}` for no arguments, and usage."""
    async with speaking(dialect, ANSWER) as (provider, g), client_of(g) as api:
        provider.play_once(calling(dialect))
        first = await complete(api, stream=stream, model=dialect, messages=[QUESTION], tools=TOOLS)
        history = [QUESTION, first.choices[0].message, *results_of(first)]
        second = await complete(api, stream=stream, model=dialect, messages=history, tools=TOOLS)

    ids = IDS[dialect]
    assert made(first) == [(ids[0], "get-weather", '{"city":"Oslo"}'), (ids[1], "time", "{}")]
    assert (first.choices[0].finish_reason, first.choices[0].message.content or None) == ("tool_calls", None)
    assert second.choices[0].message.content == "15 °C, noon."
    assert second.choices[0].finish_reason == "stop"
    assert (first.usage and first.usage.total_tokens, second.usage and second.usage.total_tokens) == (29, 34)
    check_history(dialect, provider.received[1].body)


@STREAMED
@pytest.mark.parametrize("begun", DIALECTS)
@pytest.mark.parametrize("continued", DIALECTS)
async def test_a_conversation_goes_on_at_another_provider(begun: str, continued: str, stream: bool) -> None:
    """Calls that one provider made, with its ids, are history for every other one."""
    async with Loopback(WIRES[begun], calling(begun)) as one, Loopback(WIRES[continued], ANSWER) as other:
        rows = row_of(begun, one.url) + row_of(continued, other.url, id="other")
        async with over(rows, RETRIES="0") as g, client_of(g) as api:
            first = await complete(api, stream=stream, model=begun, messages=[QUESTION], tools=TOOLS)
            history = [QUESTION, first.choices[0].message, *results_of(first)]
            second = await complete(api, stream=stream, model="other", messages=history, tools=TOOLS)

    assert second.choices[0].message.content == "15 °C, noon."
    check_history(continued, other.received[0].body)


@EACH_DIALECT
async def test_a_long_history_of_mixed_ids_stays_in_order(dialect: str) -> None:
    """Calls with the ids of all providers, and a user who speaks right after a tool, are taken everywhere."""
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}, QUESTION]
    for ids in IDS.values():
        call = {"id": ids[0], "type": "function", "function": {"name": "get-weather", "arguments": '{"city":"Oslo"}'}}
        history += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": ids[0], "content": "15 °C"},
            {"role": "user", "content": "Again, please."},
        ]
    async with speaking(dialect, ANSWER) as (provider, g), client_of(g) as api:
        answer = await complete(api, stream=False, model=dialect, messages=history, tools=TOOLS)

    assert answer.choices[0].message.content == "15 °C, noon."
    said = provider.received[0].body["messages"]
    asked = [call["id"] for message in said for call in message.get("tool_calls") or []]
    assert asked == [message["tool_call_id"] for message in said if message["role"] == "tool"]
    assert len(set(asked)) == len(IDS)


@EACH_DIALECT
async def test_the_same_id_is_the_same_in_every_request(dialect: str) -> None:
    """What an id becomes depends on nothing but the id, so that the history's beginning stays in a provider's cache."""
    call = {"id": "call_weather", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    turn = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_weather", "content": "12:00"},
    ]
    more = [{"role": "assistant", "content": "Noon."}, {"role": "user", "content": "Thanks."}]
    async with speaking(dialect, ANSWER) as (provider, g):
        for history in ([QUESTION, *turn], [QUESTION, *turn, *more]):
            assert (await g.ask(model=dialect, messages=history, tools=TOOLS)).status == 200
    first, second = (received.body["messages"] for received in provider.received)
    assert second[: len(first)] == first


NAMED = {"type": "function", "function": {"name": "get-weather"}}
CHOICES: Mapping[str, Mapping[str, tuple[list[str], Any, list[str]]]] = {
    "named": {
        "openai": (["get-weather", "time"], NAMED, []),
        "cohere": (["get_weather"], "REQUIRED", []),
        "mistral": (["get-weather", "time"], NAMED, []),
        "ai21": (["get-weather"], None, ["tool_choice"]),
    },
    "required": {
        "openai": (["get-weather", "time"], "required", []),
        "cohere": (["get_weather", "time"], "REQUIRED", []),
        "mistral": (["get-weather", "time"], "required", []),
        "ai21": (["get-weather", "time"], None, ["tool_choice"]),
    },
    "none": {
        "openai": (["get-weather", "time"], "none", []),
        "cohere": ([], None, []),
        "mistral": (["get-weather", "time"], "none", []),
        "ai21": ([], None, []),
    },
    "auto": {
        "openai": (["get-weather", "time"], "auto", []),
        "cohere": (["get_weather", "time"], None, []),
        "mistral": (["get-weather", "time"], "auto", []),
        "ai21": (["get-weather", "time"], None, []),
    },
}
"""What the client chooses, and whom it asks → the tools and the choice that arrive, and what could not be said."""


@STREAMED
@EACH_DIALECT
@pytest.mark.parametrize("choice", CHOICES)
async def test_a_choice_among_tools(choice: str, dialect: str, stream: bool) -> None:
    """Where a provider has no word for a choice, the list of tools itself says it, as far as it can."""
    tools, arrives, dropped = CHOICES[choice][dialect]
    async with speaking(dialect, ANSWER) as (provider, g), client_of(g) as api:
        wanted: Any = NAMED if choice == "named" else choice
        answer = await complete(api, stream=stream, model=dialect, messages=[QUESTION], tools=TOOLS, tool_choice=wanted)
    body = provider.received[0].body
    assert [tool["function"]["name"] for tool in body.get("tools", [])] == tools
    assert body.get("tool_choice") == arrives
    assert answer.choices[0].message.content == "15 °C, noon."
    if not stream:
        assert dropped_of(answer) == dropped


@pytest.mark.parametrize(
    ("choice", "tools", "dropped"), [("named", 1, ["tool_choice"]), ("required", 2, ["tool_choice"]), ("none", 0, [])]
)
async def test_a_model_without_choices_is_given_fewer_tools(choice: str, tools: int, dropped: list[str]) -> None:
    """Cohere's default model knows no `tool_choice`: the list of tools has to say it, and what is lost is named."""
    async with speaking("cohere", ANSWER, model="command-r-08-2024") as (provider, g):
        wanted: Any = NAMED if choice == "named" else choice
        answer = await g.ask(model="cohere", tools=TOOLS, tool_choice=wanted)
    body = provider.received[0].body
    assert (len(body.get("tools", [])), "tool_choice" in body) == (tools, False)
    assert answer.json["x_rawbot"]["results"][0]["dropped_params"] == dropped


@STREAMED
async def test_a_whole_panel_calls_tools(stream: bool) -> None:
    """In the layout `choices` every model of a panel makes its calls, under the client's names and with its own ids."""
    async with AsyncExitStack() as stack:
        rows = ""
        for dialect in DIALECTS:
            provider = await stack.enter_async_context(Loopback(WIRES[dialect], calling(dialect)))
            rows += row_of(dialect, provider.url)
        g = await stack.enter_async_context(over(rows, RETRIES="0"))
        api = await stack.enter_async_context(client_of(g))
        layout = {"x_rawbot": {"layout": "choices"}}
        answer = await complete(api, stream=stream, model="rawbot-omnibus", messages=[QUESTION], tools=TOOLS, extra_body=layout)
    assert [choice.finish_reason for choice in answer.choices] == ["tool_calls"] * len(DIALECTS)
    for place, dialect in enumerate(DIALECTS):
        first, second = IDS[dialect]
        assert made(answer, place) == [(first, "get-weather", '{"city":"Oslo"}'), (second, "time", "{}")]


async def test_tools_are_asked_in_one_piece_where_they_cannot_be_streamed() -> None:
    """AI21 forbids to stream with tools: it is asked for the whole, and the client gets its stream all the same."""
    async with speaking("ai21", calling("ai21")) as (provider, g):
        answer = await g.ask(model="ai21", tools=TOOLS, stream=True)
    assert provider.received[0].streamed is False
    assert answer.answer_headers["content-type"] == "text/event-stream; charset=utf-8"
    pieces = [call for event in answer.events[:-1] for item in event["choices"] for call in item["delta"].get("tool_calls", [])]
    assert [(piece["index"], piece["id"]) for piece in pieces] == [(0, "call_62136354"), (1, "call_62136355")]


@STREAMED
@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect not in THOUGHTLESS])
async def test_thoughts_stand_beside_the_answer(dialect: str, stream: bool) -> None:
    """What a model thinks is `reasoning_content`, never text, and sent back as history it disturbs nobody."""
    thoughtful = Turn(reasoning=("Let me", " see."), text=("15", " °C"), usage=Usage(prompt=8, completion=5))
    async with speaking(dialect, thoughtful) as (provider, g), client_of(g) as api:
        first = await complete(api, stream=stream, model=dialect, messages=[QUESTION])
        message = first.choices[0].message
        history = [QUESTION, message, {"role": "user", "content": "Sure?"}]
        second = await complete(api, stream=stream, model=dialect, messages=history)
    assert message.content == "15 °C"
    assert (message.model_extra or {})["reasoning_content"] == "Let me see."
    assert second.choices[0].message.content == "15 °C"
    assert len(provider.received) == 2


@STREAMED
async def test_a_tool_plan_is_a_thought(stream: bool) -> None:
    """Cohere says what it plans before it calls; the plan is `reasoning_content` and does not come back to Cohere."""
    plan = Turn(text=("I will", " look."), tool_calls=(Call("time_5fdj252rgk1f", "time"),), finish="tool_calls")
    async with speaking("cohere", ANSWER) as (provider, g), client_of(g) as api:
        provider.play_once(plan)
        first = await complete(api, stream=stream, model="cohere", messages=[QUESTION], tools=TOOLS)
        history = [QUESTION, first.choices[0].message, *results_of(first)]
        await complete(api, stream=stream, model="cohere", messages=history, tools=TOOLS)
    assert (first.choices[0].message.model_extra or {})["reasoning_content"] == "I will look."
    assert (first.choices[0].message.content or None, made(first)) == (None, [("time_5fdj252rgk1f", "time", "{}")])
    assert provider.received[1].body["messages"][1].keys() == {"role", "tool_calls"}


async def test_tools_go_round_over_a_real_socket(tmp_path: Path) -> None:
    """The deployed service does it too: a streamed round trip at Mistral with ids that Cohere made."""
    async with Loopback(WIRES["cohere"], calling("cohere")) as one, Loopback(WIRES["mistral"], ANSWER) as other:
        (tmp_path / "upstreams.toml").write_text(row_of("cohere", one.url) + row_of("mistral", other.url))
        async with (
            served(tmp_path, API_MASTER_KEY=KEY, ROW_TOKEN="test-token") as service,
            openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=KEY, max_retries=0, timeout=20) as api,
        ):
            first = await complete(api, stream=True, model="cohere", messages=[QUESTION], tools=TOOLS)
            history = [QUESTION, first.choices[0].message, *results_of(first)]
            second = await complete(api, stream=True, model="mistral", messages=history, tools=TOOLS)
    assert second.choices[0].message.content == "15 °C, noon."
    check_history("mistral", other.received[0].body)
