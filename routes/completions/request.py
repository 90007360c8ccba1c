"""Bytes to a ChatRequest: everything a client may get wrong is found here, and nothing is asked of anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import orjson

from routes.completions.checks import CHECKS, Check, check_messages, one_of
from routes.http.errors import invalid
from upstreams.roster import OMNIBUS
from upstreams.values import ChatRequest, Json

LayoutName: TypeAlias = Literal["sections", "choices"]
OrderName: TypeAlias = Literal["configured", "arrival", "strict"]


@dataclass(frozen=True, slots=True)
class Inbound:
    """A checked request, and what the client wants of the gateway itself."""

    model: str
    request: ChatRequest
    include_usage: bool = False
    layout: LayoutName = "sections"
    order: OrderName = "configured"


def read_request(body: bytes) -> Inbound:
    """Read the body of a chat request, whatever its content-type says; raises ApiError 400 with the member at fault."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not valid JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise invalid("The body must be a JSON object.")
    fields = {name: value for name, value in payload.items() if value is not None}
    _check_serialisable(payload)
    _check_fields(fields)
    options = _read_options(fields.pop("x_rawbot", {}))
    stream_options = fields.pop("stream_options", {})
    model = fields.pop("model", OMNIBUS)
    messages = fields.pop("messages")
    stream = fields.pop("stream", False)
    return Inbound(
        model=model,
        request=ChatRequest(messages=tuple(messages), parameters=fields, stream=stream),
        include_usage=stream and stream_options.get("include_usage") is True,
        layout=cast(LayoutName, options.get("layout", "sections")),
        order=cast(OrderName, options.get("order", "configured")),
    )


def check_panel(inbound: Inbound, models: list[str]) -> None:
    """Raise ApiError 400 for what a panel cannot tell: in one text, or with one choice per model."""
    fields = inbound.request.parameters
    in_one_text = {
        "tools": bool(fields.get("tools")),
        "logprobs": bool(fields.get("logprobs")),
        "response_format": fields.get("response_format", {}).get("type", "text") != "text",
    }
    advice = f"Ask for one model: {', '.join(models)}"
    if fields.get("n", 1) > 1:
        raise invalid(f"`n` must be 1 for a panel, which answers once per model. {advice}.", "n")
    for name, asked in in_one_text.items():
        if asked and inbound.layout == "sections":
            advice += ', or set x_rawbot to {"layout": "choices"}'
            raise invalid(f"`{name}` cannot be told in the one text of a panel. {advice}.", name)


_OPTIONS: Mapping[str, Check] = {
    "layout": one_of("sections", "choices"),
    "order": one_of("configured", "arrival", "strict"),
}

_HEADROOM = 8
"""Levels of nesting that a dialect may add: orjson reads 1024 levels but writes only 254."""


def _check_serialisable(payload: Json) -> None:
    probe: Any = payload
    for _ in range(_HEADROOM):
        probe = [probe]
    try:
        orjson.dumps(probe)
    except TypeError:
        raise invalid("The body is nested too deeply.") from None


def _check_fields(fields: Json) -> None:
    if "messages" not in fields:
        raise invalid("`messages` is missing.", "messages")
    for name, value in fields.items():
        check = CHECKS.get(name)
        if check is not None and (complaint := check(value)):
            raise invalid(f"`{name}` {complaint}.", name)
    if fields.get("top_logprobs") and not fields.get("logprobs"):
        raise invalid("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    check_messages(fields["messages"])


def _read_options(options: Any) -> Json:
    if not isinstance(options, dict):
        raise invalid("`x_rawbot` must be an object.", "x_rawbot")
    for name, value in options.items():
        if name not in _OPTIONS:
            raise invalid(f"`x_rawbot.{name}` is unknown; known are {', '.join(_OPTIONS)}.", f"x_rawbot.{name}")
        if complaint := _OPTIONS[name](value):
            raise invalid(f"`x_rawbot.{name}` {complaint}.", f"x_rawbot.{name}")
    return options
