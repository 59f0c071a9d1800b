"""The dialects of typed events, Anthropic's Messages and OpenAI's Responses: read right, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import registry
from harness.backends.protocol import Call, Dialect, Reply, Target
from harness.load.exchange import Exchange, Http1Response
from harness.load.reading import Reading

CALL = Call(
    id="id",
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "naïve?"},
    ],
    output_tokens=7,
)


def dialect_of(kind: str, *, strict: bool = False, **params: Any) -> Dialect:
    backend = registry.load("harness.backends", kind)
    made = backend(backend.Params(kind=kind, url="http://127.0.0.1:1/v1", **params))
    dialect: Dialect = made.dialect(Target(backend=kind, url="", model="tiny", strict=strict))
    return dialect


def stream(*events: dict[str, Any] | str) -> list[bytes]:
    """Each event as servers send it: with its name, in one chunk of its own."""
    lines = [
        f"{event}\n\n" if isinstance(event, str) else f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        for event in events
    ]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(line.encode()), line.encode()) for line in lines), b"0\r\n\r\n"]


def read(dialect: Dialect, parts: list[bytes]) -> tuple[Exchange, Reading, Reply]:
    """Each part's stamp is its number."""
    exchange = Exchange("id", dialect.path, b"", lambda _: None)
    exchange.http = Http1Response()
    exchange.parts, exchange.stamps = list(parts), list(range(len(parts)))
    reading = Reading(exchange, dialect)
    while reading.advance(2):
        pass
    exchange.status, exchange.end_ns = exchange.http.status, len(parts)
    return exchange, reading, reading.finish()


def block(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


USED = {"input_tokens": 5, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 7, "output_tokens": 1}
MESSAGES = [
    {"type": "message_start", "message": {"id": "msg", "content": [], "usage": USED}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "ping"},
    block(0, type="thinking_delta", thinking="Hm"),
    block(0, type="signature_delta", signature="c2ln"),
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    block(1, type="text_delta", text="naïve "),
    block(1, type="text_delta", text="日本"),
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "look"}},
    block(2, type="input_json_delta", partial_json=""),
    block(2, type="input_json_delta", partial_json='{"at":'),
    block(2, type="input_json_delta", partial_json='"sky"}'),
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 19}},
    {"type": "message_stop"},
]


def text(delta: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": "m", "output_index": 1, "delta": delta}


COUNTED = {
    "input_tokens": 42,
    "output_tokens": 19,
    "input_tokens_details": {"cached_tokens": 30},
    "output_tokens_details": {"reasoning_tokens": 11},
}
CALLED = {"type": "function_call", "id": "f", "call_id": "t1", "name": "look", "arguments": ""}
RESPONSES = [
    {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
    {"type": "response.in_progress", "response": {"id": "r", "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "a", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm"},
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "id": "m", "content": []}},
    text("naïve "),
    text("日本"),
    {"type": "response.output_text.done", "output_index": 1, "text": "naïve 日本"},
    {"type": "response.output_item.added", "output_index": 2, "item": CALLED},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"at":'},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '"sky"}'},
    {"type": "response.function_call_arguments.done", "output_index": 2, "arguments": '{"at":"sky"}'},
    {"type": "response.completed", "response": {"id": "r", "status": "completed", "usage": COUNTED}},
]
WHOLE = {"anthropic": MESSAGES, "responses": RESPONSES}
PARAMS = pytest.mark.parametrize("kind", WHOLE)


def check(exchange: Exchange, reading: Reading, reply: Reply, kind: str) -> None:
    assert exchange.error is None, exchange.detail
    assert (reply.text, reply.reasoning) == ("naïve 日本", "Hm")
    assert reply.tool_calls == [{"id": "t1", "name": "look", "arguments": '{"at":"sky"}'}]
    assert reply.finish_reason == "tool_calls"
    assert (reply.usage.input, reply.usage.cached, reply.usage.output) == (42, 30, 19)
    assert reply.usage.reasoning == (11 if kind == "responses" else None)
    assert reply.output_bytes == len('naïve 日本Hmlook{"at":"sky"}'.encode())
    assert len(reading.stamps_ns) == 6  # thinking, two texts, the call's name, two pieces of its arguments


@PARAMS
def test_all_kinds_of_output(kind: str) -> None:
    exchange, reading, reply = read(dialect_of(kind), stream(*WHOLE[kind]))
    check(exchange, reading, reply, kind)
    assert reading.first_output_ns == reading.stamps_ns[1], "thinking is no visible output"


@PARAMS
def test_no_cut_changes_what_it_says(kind: str) -> None:
    whole = b"".join(stream(*WHOLE[kind]))
    for cut in range(1, len(whole)):
        check(*read(dialect_of(kind), [whole[:cut], whole[cut:]]), kind)
    check(*read(dialect_of(kind), [whole[place : place + 1] for place in range(len(whole))]), kind)


ERRORS = {
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "responses": {"type": "error", "code": "server_error", "message": "Overloaded", "param": None},
}


@PARAMS
def test_an_error_in_the_middle(kind: str) -> None:
    exchange, reading, _ = read(dialect_of(kind), stream(*WHOLE[kind][:8], ERRORS[kind]))
    assert exchange.error == "stream_error"
    assert "Overloaded" in (exchange.detail or "")
    assert reading.stamps_ns


def test_a_response_that_failed() -> None:
    failed = {"status": "failed", "error": {"code": "server_error", "message": "boom"}}
    exchange, _, _ = read(dialect_of("responses"), stream(text("Hi"), {"type": "response.failed", "response": failed}))
    assert (exchange.error, exchange.detail) == ("stream_error", "server_error: boom")


def test_a_response_at_its_limit() -> None:
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    events = stream(text("Hi"), {"type": "response.incomplete", "response": cut}, "data: [DONE]")
    exchange, _, reply = read(dialect_of("responses"), events)
    assert (exchange.error, reply.finish_reason, reply.usage.input) == (None, "length", None)


def test_items_without_a_number() -> None:
    """llama-server names the item and does not number it."""
    added = {"type": "response.output_item.added", "item": {"type": "function_call", "id": "f", "name": "look"}}
    events = [
        added,
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": "{}"},
        {**added, "item": {**added["item"], "id": "g", "name": "wait"}},  # type: ignore[dict-item]
        {"type": "response.function_call_arguments.delta", "item_id": "g", "delta": "[]"},
        {"type": "response.completed", "response": {"status": "completed"}, "timings": {"prompt_n": 1}},
    ]
    _, _, reply = read(dialect_of("responses"), stream(*events))
    assert [(call["name"], call["arguments"]) for call in reply.tool_calls] == [("look", "{}"), ("wait", "[]")]
    assert reply.server == {"timings": {"prompt_n": 1}}


@PARAMS
def test_a_stream_that_breaks_off(kind: str) -> None:
    exchange, _, _ = read(dialect_of(kind), stream(*WHOLE[kind][:-1]))
    assert exchange.error == "truncated_stream"


@PARAMS
@pytest.mark.parametrize("event", ["data: {nonsense", 'data: {"no": "type"}', "data: 17"])
def test_garbage(kind: str, event: str) -> None:
    exchange, _, _ = read(dialect_of(kind), stream(*WHOLE[kind], event))
    assert exchange.error == "garbage_event"


@PARAMS
def test_an_error_of_no_known_shape(kind: str) -> None:
    exchange, _, _ = read(dialect_of(kind), stream('data: {"error": {"message": "boom"}, "type": 7}'))
    assert (exchange.error, exchange.detail) == ("stream_error", "boom")


@PARAMS
def test_nothing_said(kind: str) -> None:
    exchange, _, _ = read(dialect_of(kind), stream(WHOLE[kind][0], WHOLE[kind][-1]))
    assert exchange.error == "empty_answer"


BODIES = {
    "anthropic": {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "Hm"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "look", "input": {"at": 1}},
        ],
        "stop_reason": "end_turn",
        "usage": USED,
    },
    "responses": {
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "t", "name": "look", "arguments": '{"at":1}'},
        ],
        "usage": COUNTED,
    },
}


@PARAMS
def test_not_streamed(kind: str) -> None:
    decoder = dialect_of(kind, stream=False).decoder()
    decoder.body(json.dumps(BODIES[kind]).encode())
    reply = decoder.reply()
    assert (reply.text, reply.reasoning, reply.complete) == ("Hi", "Hm", True)
    assert reply.tool_calls == [{"id": "t", "name": "look", "arguments": '{"at":1}'}]
    assert (reply.usage.input, reply.usage.cached) == (42, 30)


@PARAMS
@pytest.mark.parametrize("body", ["nonsense", "{}", "[]"])
def test_a_body_that_is_no_answer(kind: str, body: str) -> None:
    decoder = dialect_of(kind, stream=False).decoder()
    decoder.body(body.encode())
    assert decoder.reply().garbage == body


@PARAMS
def test_a_body_with_an_error(kind: str) -> None:
    decoder = dialect_of(kind, stream=False).decoder()
    decoder.body(b'{"status": "failed", "error": {"message": "boom"}}')
    assert decoder.reply().error == "boom"


def encoded(kind: str, **params: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(dialect_of(kind, **params).encode(CALL))
    return value


def test_messages_request() -> None:
    assert dialect_of("anthropic").path == "/messages"
    assert encoded("anthropic", body={"temperature": 0}) == {
        "model": "tiny",
        "max_tokens": 7,
        "system": "Be brief.",
        "messages": CALL.messages[1:],
        "stream": True,
        "temperature": 0,
    }


def test_responses_request() -> None:
    assert dialect_of("responses").path == "/responses"
    asked = encoded("responses")
    assert (asked["max_output_tokens"], asked["stream"], asked["store"]) == (7, True, False)
    assert [item["role"] for item in asked["input"]] == ["system", "user", "assistant", "user"]
    assert asked["input"][2]["content"] == [{"type": "output_text", "text": "So."}]
    assert "store" not in encoded("responses", strict=True)


def test_the_key_travels_in_anthropic_s_header() -> None:
    params = registry.load("harness.backends", "anthropic").Params(kind="anthropic", api_key="env:SOME_KEY")
    assert params.headers == {"anthropic-version": "2023-06-01", "x-api-key": "env:SOME_KEY"}
    assert (params.api_key, params.url) == (None, "https://api.anthropic.com/v1")
