"""What every backend's dialect promises: each server's stream is read right, however its bytes are cut.

`streams/` holds short streams in the shapes that real servers send. A backend whose dialect speaks another API brings
its own streams; all the rest here is for any dialect.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.backends.protocol import Call, Dialect, Output, Target
from harness.load.exchange import Exchange, Http1Response
from harness.load.reading import Reading

STREAMS = Path(__file__).parent / "streams"
KINDS = registry.names("harness.backends")


@dataclass(frozen=True)
class Told:
    """What an answer says: `events` carry output, of which number `first` is the first that is no reasoning."""

    text: str = ""
    events: int = 0
    first: int | None = 0
    finish: str | None = "length"
    error: str | None = None
    reasoning: str = ""
    usage: tuple[int | None, int | None, int | None] = (None, None, None)  # input, cached, output
    tokens: list[int] | None = None
    tools: list[tuple[str, str]] = field(default_factory=list)


SKY = "Blue sky."
FILES = {
    "llama-server-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "llama-server-reasoning": Told("Yes", 3, first=2, finish="stop", reasoning="Hm, well"),
    "llama-server-completions": Told(SKY, 3, usage=(9, 4, 3)),
    "llama-server-completions-eos": Told("Blue sky", 2, finish="stop", usage=(9, None, 3)),
    "llama-cpp-python-chat": Told(SKY, 3),
    "llama-cpp-python-completions": Told(SKY, 3),
    "vllm-chat": Told(SKY, 3, usage=(9, None, 3)),
    "vllm-completions": Told(SKY, 3, usage=(9, None, 3)),
    "vllm-continuous-usage": Told("Blue sky over us.", 4, usage=(9, None, 6), tokens=[1, 2, 2, 1]),
    "vllm-token-ids": Told("Blue sky over us", 5, finish="stop", usage=(9, None, 7), tokens=[1, 2, 1, 2, 1]),
    "vllm-reasoning": Told("Yes", 3, first=1, finish="stop", reasoning="Hm, well", usage=(9, None, 5)),
    "vllm-tools": Told(
        "",
        4,
        finish="tool_calls",
        usage=(9, None, 9),
        tools=[("look", '{"at":"sky"}'), ("wait", "{}")],
    ),
    "transformers-chat": Told(SKY, 3, usage=(9, None, 3)),
    "transformers-completions": Told(SKY, 3, usage=(9, None, 3)),
    "sglang-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "trtllm-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "mlc-chat": Told(SKY, 3, usage=(9, None, 3)),
    "ollama-chat": Told(SKY, 3, usage=(9, None, 3)),
    "ollama-reasoning": Told("Yes", 3, first=2, finish="stop", reasoning="Hm, well", usage=(9, None, 3)),
    "lmdeploy-chat": Told(SKY, 3, usage=(9, None, 3)),
    "tgi-chat": Told(SKY, 3, usage=(9, None, 3)),
    "litellm-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "together-chat": Told(SKY, 3, usage=(9, None, 3)),
    "fireworks-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "groq-chat": Told(SKY, 3, usage=(9, None, 3)),
    "cerebras-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "openrouter-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "openrouter-error": Told("Blue", 1, finish="error", error="stream_error"),
    "azure-chat": Told(SKY, 3, usage=(9, 4, 3)),
    "bedrock-chat": Told(SKY, 3, usage=(9, None, 3)),
    "vertex-chat": Told(SKY, 2, usage=(9, None, 3)),
}


def delta(text: Any = None, finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    content = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": {**content, **fields}, "finish_reason": finish}]}


def sse(*events: Any, done: bool = True, end: str = "\n\n", mark: str = "data: ") -> bytes:
    lines = [event if isinstance(event, str) else mark + json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(line + end for line in [*lines, *([f"{mark}[DONE]"] if done else [])]).encode()


ROLE = delta("", role="assistant")
FULL = (ROLE, delta("Hi"), delta(" you", "stop"))
HI = Told("Hi you", 2, finish="stop")
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TRAPS = {
    "a role alone is no token": (sse(ROLE, ROLE, *FULL), HI),
    "content null": (sse(delta(None, content=None, role="assistant"), *FULL), HI),
    "role and first token together": (sse(delta("Hi", role="assistant"), delta(" you", "stop")), HI),
    "empty deltas in between": (sse(delta("Hi"), delta(""), {"choices": [{}]}, delta(" you", "stop")), HI),
    "reasoning_content": (
        sse(ROLE, delta(None, reasoning_content="Hm"), *FULL),
        Told("Hi you", 3, first=1, finish="stop", reasoning="Hm"),
    ),
    "reasoning": (
        sse(ROLE, delta(None, reasoning="Hm"), *FULL),
        Told("Hi you", 3, first=1, finish="stop", reasoning="Hm"),
    ),
    "reasoning alone": (
        sse(delta(None, reasoning="Hm"), delta(None, "length")),
        Told("", 1, first=None, reasoning="Hm"),
    ),
    "reasoning and content in one event": (
        sse(delta("Hi", reasoning="Hm"), delta(" you", "stop")),
        Told("Hi you", 2, finish="stop", reasoning="Hm"),
    ),
    "a refusal is an answer": (sse(delta(None, refusal="No."), delta(None, "stop")), Told("No.", 1, finish="stop")),
    "an empty list of tool calls": (sse(delta("Hi", tool_calls=[]), delta(" you", "stop")), HI),
    "content and a tool call in one event": (
        sse(delta("Hi", tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]), delta(None, "stop")),
        Told("Hi", 1, finish="stop", tools=[("f", "{}")]),
    ),
    "usage with choices []": (
        sse(*FULL, {"choices": [], "usage": USAGE}),
        Told("Hi you", 2, finish="stop", usage=(5, None, 2)),
    ),
    "usage without choices": (sse(*FULL, {"usage": USAGE}), Told("Hi you", 2, finish="stop", usage=(5, None, 2))),
    "usage in the finish chunk": (
        sse(ROLE, delta("Hi"), {**delta(" you", "stop"), "usage": USAGE}),
        Told("Hi you", 2, finish="stop", usage=(5, None, 2)),
    ),
    "usage null": (sse(*({**event, "usage": None} for event in FULL)), HI),
    "usage in every chunk, no role chunk": (
        sse({**delta("Hi"), "usage": {"completion_tokens": 1}}, {**delta("!", "stop"), "usage": USAGE}),
        Told("Hi!", 2, finish="stop", usage=(5, None, 2), tokens=[1, 1]),
    ),
    "usage in every chunk, reasoning first": (
        sse(
            {**delta(None, reasoning="Hm"), "usage": {"completion_tokens": 2}},
            {**delta("!", "stop"), "usage": {"completion_tokens": 3}},
        ),
        Told("!", 2, first=1, finish="stop", reasoning="Hm", usage=(None, None, 3), tokens=[2, 1]),
    ),
    "usage in every chunk, and already in the role chunk": (
        sse(
            {**ROLE, "usage": {"completion_tokens": 1}},
            {**delta("Hi"), "usage": {"completion_tokens": 1}},
            {**delta("!", "stop"), "usage": {"completion_tokens": 3}},
        ),
        Told("Hi!", 2, finish="stop", usage=(None, None, 3), tokens=[1, 2]),
    ),
    "an error in the middle": (
        sse(ROLE, delta("Hi"), {"error": {"message": "out of memory", "code": 500}}),
        Told("Hi", 1, finish=None, error="stream_error"),
    ),
    "an error of another shape": (
        sse(delta("Hi"), {"error": "boom", "choices": "none"}),
        Told("Hi", 1, finish=None, error="stream_error"),
    ),
    "an error after the finish": (
        sse(*FULL, {"error": {"type": "server_error"}}),
        Told("Hi you", 2, finish="stop", error="stream_error"),
    ),
    "error null or empty": (sse({**FULL[0], "error": None}, {**FULL[1], "error": {}}, FULL[2]), HI),
    "no space after data:": (sse(*FULL, mark="data:"), HI),
    "CRLF": (sse(*FULL, end="\r\n\r\n"), HI),
    "CR": (sse(*FULL, end="\r\r"), HI),
    "pings": (sse(": ping", FULL[0], ":", FULL[1], ": keep-alive", FULL[2]), HI),
    "events with names": (sse(*(f"event: chunk\nid: 1\ndata: {json.dumps(event)}" for event in FULL)), HI),
    "empty data": (sse("data:", *FULL, "data: "), HI),
    "no [DONE]": (sse(*FULL, done=False), HI),
    "no blank line at the end": (sse(*FULL, done=False)[:-2], HI),
    "no finish reason, but [DONE]": (sse(ROLE, delta("Hi")), Told("Hi", 1, finish=None)),
    "neither": (sse(ROLE, delta("Hi"), done=False), Told("Hi", 1, finish=None, error="truncated_stream")),
    "cut in the middle of an event": (
        sse(*FULL, done=False)[:-30],
        Told("Hi", 1, finish=None, error="truncated_stream"),
    ),
    "several tokens in one event": (sse(delta("Hi you all", "stop")), Told("Hi you all", 1, finish="stop")),
    "several events in one line end": (sse(*FULL, end="\n\n\n\n"), HI),
    "two answers side by side": (
        sse(delta("B", index=1), delta("A"), delta("a", "stop"), delta("b", "length", index=1)),
        Told("Aa", 4, finish="stop"),
    ),
    "two answers in one event": (
        sse({"choices": delta("B", index=1)["choices"] + delta("A", "stop")["choices"]}),
        Told("A", 1, finish="stop"),
    ),
    "only reasoning in the second answer": (
        sse(delta(None, index=1, reasoning="x"), delta("A", "stop")),
        Told("A", 2, first=1, finish="stop"),
    ),
    "no token at all": (sse(ROLE, delta(None, "stop")), Told("", 0, first=None, finish="stop", error="empty_answer")),
    "nothing but [DONE]": (sse(), Told("", 0, first=None, finish=None, error="empty_answer")),
    "nothing": (b"", Told("", 0, first=None, finish=None, error="empty_answer")),
    "garbage": (sse(ROLE, delta("Hi"), "data: {nonsense"), Told("Hi", 1, finish=None, error="garbage_event")),
    "a number": (sse(*FULL, "data: 17"), Told("Hi you", 2, finish="stop", error="garbage_event")),
    "fields of other types": (sse(*FULL, delta(["list"])), Told("Hi you", 2, finish="stop", error="garbage_event")),
    "bytes that are no UTF-8": (
        sse(*FULL[:2], done=False) + b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        Told("Hi", 1, finish=None, error="garbage_event"),
    ),
    "nesting without end": (
        sse(*FULL, 'data: {"x": ' + "[" * 20_000),
        Told("Hi you", 2, finish="stop", error="garbage_event"),
    ),
    "multi-byte text": (
        sse(delta("naïve "), delta("日本"), delta("🎉", "stop")),
        Told("naïve 日本🎉", 3, finish="stop"),
    ),
    "escaped text": (
        sse('data: {"choices":[{"delta":{"content":"\\ud83c\\udf89\\n"},"finish_reason":"stop"}]}'),
        Told("🎉\n", 1, finish="stop"),
    ),
    "held-back text": (
        sse({"choices": [{"index": 0, "delta": {"content": ""}, "token_ids": [1, 2]}]}, delta("Hi", "stop")),
        Told("Hi", 2, finish="stop", tokens=[2]),
    ),
}
CASES = {name: (None, told) for name, told in FILES.items()} | TRAPS


def body_of(name: str) -> bytes:
    data = CASES[name][0]
    return (STREAMS / f"{name}.sse").read_bytes() if data is None else data


def dialect_of(kind: str, model: str = "tiny", *, strict: bool = False, **params: Any) -> Dialect:
    backend = registry.load("harness.backends", kind)
    made = backend(backend.Params(kind=kind, url="http://127.0.0.1:1/v1", **params))
    dialect: Dialect = made.dialect(Target(backend=kind, url="http://127.0.0.1:1/v1", model=model, strict=strict))
    return dialect


@cache
def openai_kinds() -> list[str]:
    return [kind for kind in KINDS if dialect_of(kind).path == "/chat/completions"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each backend that speaks the OpenAI API."""
    if request.param not in openai_kinds():
        pytest.skip("speaks another API")
    return str(request.param)


def chunked(body: bytes) -> bytes:
    """The answer as servers send it: one chunk an event."""
    pieces = [piece for piece in body.replace(b"\n\n", b"\n\n\0").split(b"\0") if piece]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def read(dialect: Dialect, *parts: bytes) -> tuple[Exchange, Reading]:
    """Read an answer that came in these parts; each part's stamp is its number."""
    exchange = Exchange("id", dialect.path, b"", lambda _: None)
    exchange.http = Http1Response()
    exchange.parts, exchange.stamps = list(parts), list(range(len(parts)))
    reading = Reading(exchange, dialect)
    while reading.advance(2):
        pass
    exchange.status, exchange.end_ns = exchange.http.status, len(parts)
    reading.finish()
    return exchange, reading


def told_by(exchange: Exchange, reading: Reading) -> Told:
    reply = reading.reply
    assert reply is not None
    first = reading.first_output_ns
    return Told(
        text=reply.text,
        events=len(reading.stamps_ns),
        first=None if first is None else reading.stamps_ns.index(first),
        finish=reply.finish_reason,
        error=exchange.error,
        reasoning=reply.reasoning,
        usage=(reply.usage.input, reply.usage.cached, reply.usage.output),
        tokens=reply.event_tokens,
        tools=[(call["name"], call["arguments"]) for call in reply.tool_calls],
    )


def one_event_a_part(body: bytes) -> list[bytes]:
    answer = chunked(body)
    marked = answer.replace(b"\r\n\r\n", b"\r\n\r\n\0", 1).replace(b"}\n\n\r\n", b"}\n\n\r\n\0")
    return [part for part in marked.split(b"\0") if part]


@pytest.mark.parametrize("name", CASES)
def test_what_a_stream_says(name: str) -> None:
    for kind in openai_kinds():
        assert told_by(*read(dialect_of(kind), *one_event_a_part(body_of(name)))) == CASES[name][1], kind


@pytest.mark.parametrize("name", [name for name in CASES if name != "nesting without end"])
def test_no_cut_changes_what_it_says(name: str) -> None:
    dialect = dialect_of("openai")
    told, answer = CASES[name][1], chunked(body_of(name))
    single = [answer[place : place + 1] for place in range(len(answer))]
    for parts in ([answer], single, *([answer[:cut], answer[cut:]] for cut in range(1, len(answer)))):
        exchange, reading = read(dialect, *parts)
        found = told_by(exchange, reading)
        expected = told if len(parts) == len(single) else replace(told, first=found.first)
        assert found == expected, f"{len(parts)} parts, the first of {len(parts[0])} bytes"
        assert (found.first is None) == (told.first is None)
        assert list(reading.stamps_ns) == sorted(reading.stamps_ns)


def test_events_that_share_a_read_are_counted() -> None:
    exchange, reading = read(dialect_of("openai"), chunked(sse(*FULL)))
    assert (reading.coalesced, list(reading.stamps_ns)) == (1, [0, 0])
    exchange, reading = read(dialect_of("openai"), *one_event_a_part(sse(*FULL)))
    assert reading.coalesced == 0 and len(set(reading.stamps_ns)) == 2
    assert exchange.error is None


@pytest.mark.parametrize("name", ["llama-server-chat", "llama-server-reasoning"])
def test_timings_of_the_engine_are_kept(name: str) -> None:
    _, reading = read(dialect_of("openai"), chunked(body_of(name)))
    assert reading.reply is not None and reading.reply.server is not None
    assert reading.reply.server["timings"]["predicted_n"] == 3


def test_metrics_of_the_engine_are_kept() -> None:
    body = sse(*FULL, {"choices": [], "metrics": {"queue_time_ms": 1.5}})
    _, reading = read(dialect_of("openai"), chunked(body))
    assert reading.reply is not None and reading.reply.server == {"metrics": {"queue_time_ms": 1.5}}


def test_reasoning_tokens_and_bytes() -> None:
    usage = {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}}
    _, reading = read(dialect_of("openai"), chunked(sse(delta("é"), delta("z", reasoning="日"), {"usage": usage})))
    assert reading.reply is not None
    assert reading.reply.usage.reasoning == 3
    assert reading.reply.output_bytes == len("éz日".encode())


def test_errors_keep_their_words() -> None:
    exchange, _ = read(dialect_of("openai"), chunked(body_of("an error in the middle")))
    assert exchange.detail == "500: out of memory"


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_a_decoder_never_raises(kind: str, data: bytes) -> None:
    for feed in ("event", "body"):
        decoder = dialect_of(kind).decoder()
        getattr(decoder, feed)(data)
        decoder.reply()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "usage", "error", "index", "text", "tool_calls", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", KINDS)
@given(value=JSON_VALUES)
def test_a_decoder_never_raises_on_json(kind: str, value: Any) -> None:
    decoder = dialect_of(kind).decoder()
    data = json.dumps(value).encode()
    assert decoder.event(data) in tuple(Output)
    decoder.body(data)
    decoder.reply()


CALL = Call(
    id="id",
    messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "naïve?"}],
    output_tokens=7,
)


def encoded(kind: str, call: Call = CALL, **params: Any) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(dialect_of(kind, **params).encode(call))
    return value


class TestRequests:
    """What holds for every backend that speaks the OpenAI API, whatever fields of its own it adds."""

    def test_what_is_asked(self, kind: str) -> None:
        asked = encoded(kind)
        assert (asked["model"], asked["messages"], asked["stream"]) == ("tiny", CALL.messages, True)
        assert asked.get("max_tokens", asked.get("max_completion_tokens")) == 7
        assert "stream" not in encoded(kind, stream=False) or encoded(kind, stream=False)["stream"] is False

    def test_strict_servers_get_no_optional_field(self, kind: str) -> None:
        exact = msgspec.structs.replace(CALL, exact_output=True)
        asked, bare = encoded(kind, exact), encoded(kind, exact, strict=True)
        assert bare.items() <= asked.items()
        assert not {"stream_options", "ignore_eos", "min_tokens"} & bare.keys()

    def test_fields_of_the_config_win(self, kind: str) -> None:
        asked = encoded(kind, body={"temperature": 0, "max_tokens": 99, "stream_options": None})
        assert (asked["temperature"], asked["max_tokens"], asked["stream_options"]) == (0, 99, None)

    def test_what_is_not_streamed_has_no_options_of_streams(self, kind: str) -> None:
        body = {"temperature": 0, "stream_options": {"include_usage": True}}
        asked = encoded(kind, stream=False, body=body)
        assert asked["temperature"] == 0 and "stream_options" not in asked
        assert encoded(kind, body=body)["stream_options"] == {"include_usage": True}

    def test_a_call_may_name_its_own_model(self, kind: str) -> None:
        assert encoded(kind, msgspec.structs.replace(CALL, model="small"))["model"] == "small"


@pytest.mark.parametrize("plain", ["openai", "sim"])
class TestPlainRequests:
    """To the letter, where nothing is known of the server."""

    def test_chat(self, plain: str) -> None:
        assert encoded(plain) == {
            "model": "tiny",
            "messages": CALL.messages,
            "max_tokens": 7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_completions(self, plain: str) -> None:
        assert dialect_of(plain, api="completions").path == "/completions"
        asked = encoded(plain, api="completions")
        assert asked["prompt"] == "Be brief.\nnaïve?"
        assert "messages" not in asked

    def test_not_streamed(self, plain: str) -> None:
        assert encoded(plain, stream=False) == {"model": "tiny", "messages": CALL.messages, "max_tokens": 7}

    def test_exact_output(self, plain: str) -> None:
        asked = encoded(plain, msgspec.structs.replace(CALL, exact_output=True))
        assert (asked["ignore_eos"], asked["min_tokens"], asked["max_tokens"]) == (True, 7, 7)

    def test_strict(self, plain: str) -> None:
        exact = msgspec.structs.replace(CALL, exact_output=True)
        assert encoded(plain, exact, strict=True) == {
            "model": "tiny",
            "messages": CALL.messages,
            "max_tokens": 7,
            "stream": True,
        }


def whole(body: bytes, kind: bytes = b"application/json", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind, len(body), body)


def answer(message: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, **message, "finish_reason": "stop"}], **fields}).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "text", "tools"),
    [
        (answer({"message": {"role": "assistant", "content": "Hi"}}, usage=USAGE), "Hi", []),
        (answer({"text": "Hi"}, usage=USAGE), "Hi", []),
        (
            answer(
                {
                    "message": {
                        "content": None,
                        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "1"}}],
                    }
                },
                usage=USAGE,
            ),
            "",
            [("f", "1")],
        ),
    ],
)
def test_answers_that_are_not_streamed(kind: str, stream: bool, body: bytes, text: str, tools: list[Any]) -> None:
    """Asked for, or from a server that ignores `stream`: one event that holds all tokens."""
    exchange, reading = read(dialect_of(kind, stream=stream), whole(body))
    found = told_by(exchange, reading)
    assert found == Told(text, 1, None, "stop", usage=(5, None, 2), tokens=[2], tools=tools)
    assert list(reading.stamps_ns) == [exchange.end_ns] and not reading.streamed
