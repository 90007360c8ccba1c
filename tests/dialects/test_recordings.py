"""Every recorded answer says what it should, however its bytes arrive, and the same streamed and whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.folding import Answer, fold, read_stream, read_whole
from upstreams.dialects.protocol import Dialect
from upstreams.lenient_json import read_json
from upstreams.roster import DIALECTS
from upstreams.values import ErrorKind, Failure, Finish, Usage

FOLDER = Path(__file__).parent.parent / "recordings"

COHERE_USAGE = Usage(prompt=503, completion=11, cached=448)
MISTRAL_USAGE = Usage(prompt=159, completion=28, cached=64)
AI21_USAGE = Usage(prompt=40, completion=5)
OPENAI_USAGE = Usage(prompt=12, completion=7, cached=4, reasoning=2)
INVENTED_ID = "call_3e0b2c9c46425fe0afbd4a33"
LIMA = '{"city": "Lima"}'
CUT_OFF = Failure(ErrorKind.INTERRUPTED, message="the stream ended without a finish reason")

ANSWERS: dict[str, Answer] = {
    "ai21/text": Answer({0: "Sure, blue."}, usage=AI21_USAGE, end=Finish("stop")),
    "ai21/tools": Answer(calls={(0, 0): ("call_62136354", "weather", LIMA)}, usage=AI21_USAGE, end=Finish("tool_calls")),
    "ai21/two-choices": Answer({0: "yes", 1: "no"}, usage=AI21_USAGE, end=Finish("stop", ("length",))),
    "ai21/hostile-cut-off": Answer({0: "Well"}, end=CUT_OFF),
    "cohere/text": Answer({0: "Sure, the sky is blue 🙂."}, usage=COHERE_USAGE, end=Finish("stop")),
    "cohere/thinking": Answer(
        {0: "42"}, {0: "Let me see."}, usage=Usage(prompt=20, completion=9, reasoning=6), end=Finish("stop")
    ),
    "cohere/tools": Answer(
        thoughts={0: "I will look."},
        calls={
            (0, 0): ("get_weather_vvavrb8p34fk", "get_weather", '{"unit":null}'),
            (0, 1): ("now_5fdj252rgk1f", "now", "{}"),
        },
        usage=COHERE_USAGE,
        end=Finish("tool_calls"),
    ),
    "cohere/citations": Answer({0: "Tall tower"}, usage=COHERE_USAGE, end=Finish("length")),
    "cohere/logprobs": Answer({0: "Sure"}, usage=COHERE_USAGE, end=Finish("stop")),
    "cohere/hostile-error-at-end": Answer({0: "Well"}, end=Failure(ErrorKind.BROKEN, message="internal error, see …")),
    "cohere/hostile-timeout-at-end": Answer(
        usage=COHERE_USAGE, end=Failure(ErrorKind.TIMEOUT, message="the upstream ended its answer with an error")
    ),
    "cohere/hostile-cut-off": Answer({0: "Well"}, end=CUT_OFF),
    "cohere/hostile-error-amid": Answer({0: "Well"}, end=Failure(ErrorKind.BROKEN, message="overloaded")),
    "cohere/hostile-cut-emoji": Answer({0: "ok 🙂!"}, usage=COHERE_USAGE, end=Finish("stop")),
    "cohere/hostile-events-after-end": Answer({0: "a"}, usage=COHERE_USAGE, end=Finish("stop")),
    "mistral/text": Answer({0: "Sure, blue."}, usage=MISTRAL_USAGE, end=Finish("stop")),
    "mistral/tools": Answer(
        calls={(0, 0): ("g6fVbXS8K", "weather", LIMA), (0, 1): ("bAyGEuxg1", "now", "{}")},
        usage=MISTRAL_USAGE,
        end=Finish("tool_calls"),
    ),
    "mistral/tools-without-index": Answer(
        calls={(0, 0): ("g6fVbXS8K", "weather", LIMA), (0, 1): ("bAyGEuxg1", "now", "{}")},
        usage=MISTRAL_USAGE,
        end=Finish("tool_calls"),
    ),
    "mistral/tools-in-pieces": Answer(
        calls={(0, 0): ("chatcmpl-tool-9a4b", "weather", LIMA)}, usage=MISTRAL_USAGE, end=Finish("tool_calls")
    ),
    "mistral/thinking": Answer({0: "42"}, {0: "Let me see."}, usage=MISTRAL_USAGE, end=Finish("stop")),
    "mistral/two-choices": Answer({0: "yes", 1: "no"}, usage=MISTRAL_USAGE, end=Finish("stop", ("length",))),
    "mistral/hostile-finish-error": Answer(
        {0: "Well"}, usage=MISTRAL_USAGE, end=Failure(ErrorKind.BROKEN, message="the upstream ended its answer with an error")
    ),
    "mistral/hostile-error-event": Answer(
        {0: "Well"}, end=Failure(ErrorKind.UNAVAILABLE, message="Service tier capacity exceeded for this model.")
    ),
    "mistral/hostile-cut-emoji": Answer({0: "ok 🙂!", 1: "other \ufffd"}, end=Finish("stop", ("stop",))),
    "mistral/hostile-cut-off": Answer({0: "Well"}, end=Failure(ErrorKind.MALFORMED, message="an event that is no JSON")),
    "openai/text": Answer({0: "Sure, blue."}, usage=OPENAI_USAGE, end=Finish("stop")),
    "openai/tools": Answer(
        calls={(0, 0): ("call_abc", "multiply", '{"a":2}'), (0, 1): ("call_def", "now", "{}")},
        usage=OPENAI_USAGE,
        end=Finish("tool_calls"),
    ),
    "openai/refusal": Answer({0: "I cannot."}, usage=OPENAI_USAGE, end=Finish("stop")),
    "openai/three-choices": Answer(
        {0: "a!", 1: "b", 2: "c"}, usage=OPENAI_USAGE, end=Finish("stop", ("length", "content_filter"))
    ),
    "openai/logprobs": Answer({0: "Sure"}, usage=OPENAI_USAGE, end=Finish("stop")),
    "openai/reasoning": Answer({0: "42"}, {0: "Hmm."}, end=Finish("stop")),
    "openai/one-index-for-all": Answer(
        calls={(0, 0): ("call_a", "x", '{"i":1}'), (0, 1): ("call_b", "y", '{"i":2}')}, end=Finish("tool_calls")
    ),
    "openai/calls-without-ids": Answer(calls={(0, 0): (INVENTED_ID, "x", '{"i":1}')}, end=Finish("tool_calls")),
    "openai/no-finish-reason": Answer({0: "Sure"}, end=Finish("stop")),
    "openai/function-call": Answer(calls={(0, 0): (INVENTED_ID, "x", '{"i":1}')}, end=Finish("tool_calls")),
    "openai/hostile-error-event": Answer(
        {0: "Well"}, end=Failure(ErrorKind.BROKEN, message="The server had an error processing your request")
    ),
    "openai/hostile-error-with-status": Answer(end=Failure(ErrorKind.RATE_LIMITED, 429, "Rate limited by … at …")),
    "openai/hostile-cut-off": Answer({0: "Well"}, end=CUT_OFF),
    "openai/hostile-cut-after-finish": Answer({0: "Well"}, end=Finish("stop")),
    "openai/hostile-only-done": Answer(end=CUT_OFF),
    "openai/hostile-not-json": Answer({0: "Well"}, end=Failure(ErrorKind.MALFORMED, message="an event that is no JSON")),
    "openai/hostile-error-object": Answer(end=Failure(ErrorKind.UNAVAILABLE, 503, "upstream overloaded")),
    "openai/hostile-no-choices": Answer(end=Failure(ErrorKind.MALFORMED, message="an answer without choices")),
}
"""What each recording says, streamed or whole: one answer for both where there are both."""


def recordings(suffix: str) -> list[str]:
    return sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob(f"*/*{suffix}"))


def dialect_of(name: str) -> Dialect:
    return DIALECTS[name.partition("/")[0]]


def test_every_recording_has_its_answer() -> None:
    """No recording is without an expected answer, and none is missing."""
    assert set(ANSWERS) == {*recordings(".sse"), *recordings(".json")}


@pytest.mark.parametrize("name", recordings(".json"))
def test_whole(name: str) -> None:
    """A whole answer says what it should."""
    payload = read_json((FOLDER / f"{name}.json").read_bytes())

    assert read_whole(dialect_of(name), payload) == ANSWERS[name]


@pytest.mark.parametrize("name", recordings(".sse"))
def test_streamed(name: str) -> None:
    """A streamed answer says what it should, and brings the same deltas when its bytes arrive one by one."""
    recorded = (FOLDER / f"{name}.sse").read_bytes()
    at_once = read_stream(dialect_of(name), [recorded])

    assert fold(at_once) == ANSWERS[name]
    assert read_stream(dialect_of(name), [recorded[i : i + 1] for i in range(len(recorded))]) == at_once


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
@pytest.mark.parametrize("name", recordings(".sse"))
def test_streamed_with_other_line_ends(name: str, line_end: bytes) -> None:
    """Line ends of another kind, after a byte order mark, change nothing."""
    recorded = (FOLDER / f"{name}.sse").read_bytes()
    other = b"\xef\xbb\xbf" + recorded.replace(b"\n", line_end)

    assert read_stream(dialect_of(name), [other[i : i + 5] for i in range(0, len(other), 5)]) == read_stream(
        dialect_of(name), [recorded]
    )


@given(st.sampled_from(recordings(".sse")), st.lists(st.integers(0, 4000)))
@settings(max_examples=150, deadline=None)
def test_streamed_at_random_cuts(name: str, cuts: list[int]) -> None:
    """Wherever a stream is cut into reads, its deltas are the same."""
    recorded = (FOLDER / f"{name}.sse").read_bytes()
    edges = [0, *sorted(min(cut, len(recorded)) for cut in cuts), len(recorded)]
    pieces = [recorded[a:b] for a, b in pairwise(edges)]

    assert read_stream(dialect_of(name), pieces) == read_stream(dialect_of(name), [recorded])


def test_logprobs_stay_with_their_text() -> None:
    """Logprobs come beside the text that they belong to, from Cohere in OpenAI's shape."""
    for name, expected in (("openai", -0.1), ("cohere", -0.75)):
        deltas = read_stream(DIALECTS[name], [(FOLDER / f"{name}/logprobs.sse").read_bytes()])

        (logprobs,) = [logprobs for delta in deltas if (logprobs := getattr(delta, "logprobs", None))]
        assert [(token["token"], token["logprob"]) for token in logprobs["content"]] == [("Sure", expected)]
