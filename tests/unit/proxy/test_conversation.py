"""What was said, in both dialects: an answer is the same text as the message it later becomes."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from harness.proxy.conversation import Said, read
from harness.proxy.exchange import Exchange

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n"
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"b": 1, "a": "x"}'}}
USAGE = {"prompt_tokens": 30, "completion_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 5}}


def exchange(asked: Any, answer: bytes, *, kind: bytes = b"application/json", **more: Any) -> Exchange:
    lines = more.pop("lines", b"")
    raw = more.pop("head", HEAD % (kind, lines, len(answer))) + answer
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    half = len(raw) // 2
    made = Exchange(1.0, end_s=2.0, method=b"POST", url=more.pop("url", b"/v1/chat/completions?x=1"), complete=True)
    made.request, made.answer = [body[:10], body[10:]], [raw[:half], raw[half:]]
    for name, value in more.items():
        setattr(made, name, value)
    return made


def said(*arguments: Any, **more: Any) -> Said:
    found = read(exchange(*arguments, **more))
    assert found is not None
    return found


def events(*data: Any) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in data) + b"data: [DONE]\n\n"


def whole(message: dict[str, Any]) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}).encode()


ASKED = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
}


def test_an_answer_streamed_and_whole_is_the_same_and_as_it_comes_back() -> None:
    deltas = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"delta": {"content": "Let me "}}]},
        {"choices": [{"delta": {"content": "look. "}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, **CALL}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": USAGE},
    ]
    message = {"role": "assistant", "content": "Let me look. ", "tool_calls": [CALL]}
    streamed = said(ASKED, events(*deltas), kind=b"text/event-stream; charset=utf-8")
    plain = said(ASKED, whole(message))
    assert streamed == plain
    assert (plain.input_tokens, plain.output_tokens, plain.kept_tokens) == (30, 12, 7)
    assert plain.waits_for_tools and plain.model == "m" and plain.text == "Let me look."
    back = dict(message, tool_calls=[{**CALL, "function": {"name": "look", "arguments": '{"a":"x","b":1}'}}])
    again = said({"messages": [*ASKED["messages"], back]}, whole({"content": "ok"}))  # type: ignore[misc]
    assert again.messages == [*plain.messages, plain.answer]


def test_tools_are_part_of_the_prompt() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    assert said({**ASKED, "tools": tools}, whole({"content": "ok"})).tools == json.dumps(
        tools, separators=(",", ":"), sort_keys=True
    )


def test_the_anthropic_dialect() -> None:
    asked = {"model": "c", "system": [{"type": "text", "text": "Be."}], "messages": [{"role": "user", "content": "Hi"}]}
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {"b": 1, "a": "x"}}
    stream = [
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 20, "cache_read_input_tokens": 10, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me look."}},
        {"type": "content_block_start", "index": 2, "content_block": {**use, "input": {}}},
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"b": 1, "a": "x"}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 25}},
        {"type": "message_stop"},
    ]
    body = b"".join(b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), json.dumps(e).encode()) for e in stream)
    first = said(asked, body, kind=b"text/event-stream", url=b"/v1/messages")
    assert (first.input_tokens, first.output_tokens, first.waits_for_tools) == (30, 25, True)
    assert first.messages == ["system\nBe.", "user\nHi"]
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Let me look."}, use]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "found"}]}
    asked["messages"] += [{"role": "assistant", "content": content}, result]  # type: ignore[operator]
    answer = {
        "content": [{"type": "text", "text": "Done."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 60, "output_tokens": 3},
    }
    second = said(asked, json.dumps(answer).encode(), url=b"/v1/messages")
    assert second.messages == [*first.messages, first.answer, "user\nfound"]


def test_a_prompt_of_the_completions_api() -> None:
    answer = json.dumps({"choices": [{"text": " more", "finish_reason": "length"}]}).encode()
    found = said({"prompt": "Once"}, answer, url=b"/v1/completions")
    assert (found.messages, found.text, found.input_tokens) == (["prompt\nOnce"], "more", None)


def test_bodies_that_are_packed() -> None:
    packed = gzip.compress(whole({"content": "yes"}))
    asked = gzip.compress(json.dumps(ASKED).encode())
    found = said(asked, packed, lines=b"Content-Encoding: GZIP\r\n", request_encoding=b"gzip")
    assert found.text == "yes"


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (whole({"content": "x"}), {"complete": False}),
        (
            whole({"content": "x"}),
            {"head": b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(whole({"content": "x"}))},
        ),
        (whole({"content": "x"}), {"lines": b"Content-Encoding: br\r\n"}),
        (whole({"content": "x"}), {"request_encoding": b"zstd"}),
        (b"<html>", {}),
        (b'{"error":{"message":"no"}}', {}),
        (b"", {"head": b"what?\r\n\r\n"}),
    ],
)
def test_what_is_no_answer_is_left_out(answer: bytes, more: dict[str, Any]) -> None:
    assert read(exchange(ASKED, answer, **more)) is None


@pytest.mark.parametrize("asked", [b"{", b"[]", b'{"messages": 3}', b'{"messages": ["x"]}', b"{}"])
def test_requests_that_are_none_are_left_out(asked: bytes) -> None:
    assert read(exchange(asked, whole({"content": "x"}))) is None
