"""What a client may get wrong, and what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routes.completions.checks import CHECKS
from routes.completions.request import read_request
from routes.http.errors import ApiError
from tests.clock import advance
from tests.gateway import QUESTION, gateway
from tests.providers.loopback import Turn

FINE = Turn(text=("Fine",))
USER = {"role": "user", "content": "Hi"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]

WRONG: dict[str, tuple[Any, str | None]] = {
    "no JSON": (b"{", None),
    "no UTF-8": (b'{"messages": "\xff"}', None),
    "no object": ([1], None),
    "no messages": ({}, "messages"),
    "messages null": ({"messages": None}, "messages"),
    "messages no list": ({"messages": {}}, "messages"),
    "no user message": ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    "message no object": ({"messages": ["hi"]}, "messages[0]"),
    "unknown role": ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "messages[1]"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0]"),
    "content a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0]"),
    "part without type": ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0]"),
    "part without text": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0]"),
    "tool without id": ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages[1]"),
    "tool calls no list": ({"messages": [USER, {"role": "assistant", "tool_calls": 1}]}, "messages[1]"),
    "tool call without id": (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]},
        "messages[1]",
    ),
    "tool call without name": (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}]},
        "messages[1]",
    ),
    "model a number": ({**QUESTION, "model": 5}, "model"),
    "model too long": ({**QUESTION, "model": "a," * 600}, "model"),
    "stream a text": ({**QUESTION, "stream": "yes"}, "stream"),
    "temperature too high": ({**QUESTION, "temperature": 2.1}, "temperature"),
    "temperature a boolean": ({**QUESTION, "temperature": True}, "temperature"),
    "top_p negative": ({**QUESTION, "top_p": -0.1}, "top_p"),
    "n zero": ({**QUESTION, "model": "a", "n": 0}, "n"),
    "max_tokens zero": ({**QUESTION, "max_tokens": 0}, "max_tokens"),
    "max_tokens a fraction": ({**QUESTION, "max_tokens": 1.5}, "max_tokens"),
    "five stops": ({**QUESTION, "stop": list("abcde")}, "stop"),
    "seed a text": ({**QUESTION, "seed": "x"}, "seed"),
    "penalty too low": ({**QUESTION, "presence_penalty": -3}, "presence_penalty"),
    "top_logprobs alone": ({**QUESTION, "top_logprobs": 3}, "top_logprobs"),
    "tools no list": ({**QUESTION, "tools": {}}, "tools"),
    "tool without name": ({**QUESTION, "tools": [{"type": "function", "function": {}}]}, "tools"),
    "unknown tool_choice": ({**QUESTION, "tool_choice": "maybe"}, "tool_choice"),
    "functions": ({**QUESTION, "functions": []}, "functions"),
    "unknown response_format": ({**QUESTION, "response_format": {"type": "xml"}}, "response_format"),
    "schema missing": ({**QUESTION, "response_format": {"type": "json_schema"}}, "response_format"),
    "bias too large": ({**QUESTION, "logit_bias": {"1": 101}}, "logit_bias"),
    "tool of no type": ({**QUESTION, "tools": [{"type": 5}]}, "tools"),
    "unknown effort": ({**QUESTION, "reasoning_effort": "some"}, "reasoning_effort"),
    "stops no texts": (b'{"messages":[{"role":"user","content":"x"}],"stop":[1]}', "stop"),
    "x_rawbot no object": ({**QUESTION, "x_rawbot": 1}, "x_rawbot"),
    "x_rawbot unknown key": ({**QUESTION, "x_rawbot": {"colour": "red"}}, "x_rawbot.colour"),
    "x_rawbot unknown value": ({**QUESTION, "x_rawbot": {"order": "random"}}, "x_rawbot.order"),
    "panel with n": ({**QUESTION, "n": 2}, "n"),
    "panel with tools": ({**QUESTION, "tools": TOOLS}, "tools"),
    "panel with logprobs": ({**QUESTION, "logprobs": True}, "logprobs"),
    "panel with a format": ({**QUESTION, "response_format": {"type": "json_object"}}, "response_format"),
    "choices with n": ({**QUESTION, "n": 2, "x_rawbot": {"layout": "choices"}}, "n"),
    "nested too deeply": (b'{"messages":[{"role":"user","content":"x"}],"x":' + b"[" * 250 + b"]" * 250 + b"}", None),
}


@pytest.mark.parametrize(("body", "param"), WRONG.values(), ids=WRONG.keys())
async def test_a_bad_request_is_told_what_is_wrong(body: Any, param: str | None) -> None:
    """Each mistake is a 400 with the member at fault, in OpenAI's envelope, and nobody is asked."""
    async with gateway(FINE, FINE) as g:
        exchange = await g.exchange(body).run()
        assert not any(provider.received for provider in g.providers)
    assert exchange.status == 400
    error = exchange.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert exchange.answer_headers["content-type"] == "application/json"


async def test_the_advice_to_a_panel_names_models_and_layout() -> None:
    """A panel that cannot take tools says which ids or which layout can."""
    async with gateway(FINE, FINE) as g:
        message = (await g.ask(tools=TOOLS)).json["error"]["message"]
    assert "a, b" in message
    assert '{"layout": "choices"}' in message


async def test_tools_are_fine_for_a_panel_with_choices() -> None:
    """In the layout `choices` each model may call tools of its own."""
    async with gateway(FINE, FINE) as g:
        assert (await g.ask(tools=TOOLS, x_rawbot={"layout": "choices"})).status == 200


async def test_every_good_form_is_taken() -> None:
    """What OpenAI allows in several forms is allowed in all of them."""
    good: list[dict[str, Any]] = [
        {"stop": "x"},
        {"stop": ["x", "y"]},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
        {"logprobs": True, "top_logprobs": 2},
        {"reasoning_effort": "low"},
        {"logit_bias": {"50256": -100}},
        {"tools": [{"type": "custom", "custom": {"name": "a"}}]},
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": []}, USER]},
    ]
    async with gateway(FINE) as g:
        for fields in good:
            assert (await g.ask(model="a", **fields)).status == 200, fields


async def test_nulls_count_as_absent() -> None:
    """SDKs send null for what was not set."""
    async with gateway(FINE) as g:
        assert (await g.ask(temperature=None, model=None, stream=None, x_rawbot=None)).status == 200


async def test_the_content_type_does_not_matter() -> None:
    """The body is read as JSON whatever it says it is."""
    async with gateway(FINE) as g:
        exchange = g.exchange(QUESTION, headers={"content-type": "text/plain"})
        assert (await exchange.run()).status == 200


async def test_a_body_over_the_limit_is_a_413() -> None:
    """MAX_BODY_BYTES bounds what is kept; the rest is read and thrown away, so that the connection lives on."""
    async with gateway(FINE, MAX_BODY_BYTES="100") as g:
        exchange = await g.exchange(chunks=[b"x" * 60, b"x" * 60, b""]).run()
    assert exchange.status == 413
    assert exchange.json["error"]["type"] == "invalid_request_error"


async def test_a_large_body_that_does_not_end_is_a_413() -> None:
    """What is too large already is no matter of time: SDKs repeat a 408, and would send it all again."""
    async with gateway(FINE, MAX_BODY_BYTES="100") as g:
        exchange = g.exchange(chunks=[b"x" * 200, b""])
        exchange.withhold_the_rest()
        await exchange.run()
    assert exchange.status == 413


async def test_a_body_that_does_not_end_is_a_408() -> None:
    """BODY_TIMEOUT bounds how long a body may take."""
    async with gateway(FINE) as g, g.asking() as exchange:
        exchange.withhold_body()
        await exchange.wait_until(lambda seen: seen.waiting)
        advance(30)
        await exchange.wait_until(lambda seen: seen.complete)
    assert exchange.status == 408


async def test_more_than_max_in_flight_is_a_503_with_retry_after() -> None:
    """Who comes when all places are taken is told to come again."""
    gate = asyncio.Event()
    async with gateway(Turn(text=("x",), pace={0: gate}), MAX_IN_FLIGHT="1") as g, g.asking(model="a"):
        await g.providers[0].wait_for_calls(1)
        refused = await g.ask(model="a")
        gate.set()
    assert refused.status == 503
    assert refused.answer_headers["retry-after"] == "5"


async def test_an_unknown_model_is_a_404_that_names_those_that_exist() -> None:
    """`model_not_found` lists what may be asked for, also when one of a list is unknown."""
    async with gateway(FINE, FINE) as g:
        exchange = await g.ask(model="a,nope")
    assert exchange.status == 404
    error = exchange.json["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == "The model `nope` does not exist; there are: rawbot-omnibus, a, b"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*CHECKS, "x_rawbot", "anything"])
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "tool", 3]) | JSON},
    optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON, "name": JSON},
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=64),
        JSON.map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str) if fits(value) else b"0"),
        st.fixed_dictionaries({"messages": st.lists(MESSAGE | JSON, max_size=3)}).flatmap(
            lambda base: st.dictionaries(NAMES, JSON, max_size=4).map(lambda more: {**base, **more})
        ),
    )
)
def test_whatever_the_body_it_is_read_or_refused(body: Any) -> None:
    """No body is a fault of ours: it becomes a request, or an ApiError of status 400."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body) if fits(body) else b"{}"
    try:
        inbound = read_request(raw)
    except ApiError as error:
        status = error.status
    else:
        status = 200 if any(message["role"] == "user" for message in inbound.request.messages) else 0
    assert status in (200, 400)


def fits(value: Any) -> bool:
    """Whether orjson can write a value: not so integers of more than 64 bits and half surrogates."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
