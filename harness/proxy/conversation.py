"""What was said in an exchange: the messages of the request, one form for both dialects, and the answer."""

from __future__ import annotations

import zlib
from typing import Any

import httptools
import msgspec

from harness.backends.anthropic import AnthropicDecoder
from harness.backends.openai_stream import OpenAIDecoder
from harness.backends.protocol import Decoder, Reply
from harness.proxy.exchange import Exchange

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="sorted").encode


class Said(msgspec.Struct, kw_only=True):
    """One model call. Each of `messages` and `answer` is text in one form, equal where the meaning is.

    Attributes:
        header: what the session header said.
        tools: the definitions of tools, which are part of the prompt, as text; empty where there are none.
        text: the answer's text alone, by which later prompts that hold it are known.
        kept_tokens: those of the answer that go on in the conversation: all but its reasoning, as far as that is told.
    """

    start_s: float
    end_s: float
    header: str | None = None
    model: str | None = None
    tools: str = ""
    messages: list[str]
    answer: str
    text: str
    waits_for_tools: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    kept_tokens: int | None = None


class _Framed:
    """An answer out of its raw bytes: status, headers, body."""

    def __init__(self, raw: bytes) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self.status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parser.feed_data(raw)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value.strip().lower()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def body(self) -> bytes:
        return _unpacked(b"".join(self._parts), self._headers.get(b"content-encoding", b""))

    @property
    def streamed(self) -> bool:
        return self._headers.get(b"content-type", b"").startswith(b"text/event-stream")


def read(exchange: Exchange) -> Said | None:
    """What was said, or None where there is no whole answer to a model call."""
    if not exchange.complete:
        return None
    try:
        framed = _Framed(b"".join(exchange.answer))
        if framed.status != 200:
            return None
        asked = _read(_unpacked(b"".join(exchange.request), exchange.request_encoding))
        anthropic = exchange.url.partition(b"?")[0].endswith(b"/messages")
        reply = _reply(AnthropicDecoder() if anthropic else OpenAIDecoder(), framed.body(), framed.streamed)
        messages = _messages(asked)
        tools = _write(asked["tools"]).decode() if asked.get("tools") else ""
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, httptools.HttpParserError):
        return None
    if reply.error or not (reply.text or reply.reasoning or reply.tool_calls or reply.usage.output):
        return None
    calls = [(str(tool["name"]), tool["arguments"]) for tool in reply.tool_calls]
    model, output = asked.get("model"), reply.usage.output
    return Said(
        start_s=exchange.start_s,
        end_s=exchange.end_s,
        header=exchange.session,
        model=model if isinstance(model, str) else None,
        tools=tools,
        messages=messages,
        answer=_form("assistant", reply.text, calls),
        text=reply.text.strip(),
        waits_for_tools=bool(calls),
        input_tokens=reply.usage.input,
        output_tokens=output,
        kept_tokens=None if output is None else max(0, output - (reply.usage.reasoning or 0)),
    )


def _unpacked(data: bytes, encoding: bytes) -> bytes:
    if encoding in (b"gzip", b"deflate"):
        return zlib.decompress(data, 47)
    if encoding not in (b"", b"identity"):
        raise ValueError(f"content-encoding {encoding!r}")
    return data


def _reply(decoder: Decoder, data: bytes, streamed: bool) -> Reply:
    if not streamed:
        decoder.body(data)
        return decoder.reply()
    for event in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].lstrip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            decoder.event(b"\n".join(lines))
    return decoder.reply()


def _messages(asked: dict[str, Any]) -> list[str]:
    if "messages" not in asked:
        return [_form("prompt", _text(asked["prompt"]), [])]
    system = [_form("system", _text(asked["system"]), [])] if asked.get("system") else []
    return system + [_message(message) for message in asked["messages"]]


def _message(message: dict[str, Any]) -> str:
    content = message.get("content")
    tools = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
    if isinstance(content, list):
        uses = [part for part in content if part.get("type") == "tool_use"]
        tools += [(part["name"], _write(part.get("input") or {}).decode()) for part in uses]
        content = [part for part in content if part.get("type") not in ("tool_use", "thinking", "redacted_thinking")]
    return _form(message["role"], _text(content), tools)


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_text(part) for part in content)
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return str(content["text"])
    if isinstance(content, dict) and content.get("type") == "tool_result":
        return _text(content.get("content"))
    return _write(content).decode()


def _form(role: str, text: str, tools: list[tuple[str, str]]) -> str:
    calls = [f"{name} {_canonical(arguments)}" for name, arguments in tools]
    return "\n".join([role, text.strip(), *calls])


def _canonical(arguments: str) -> str:
    """JSON in one spelling; what is none stays as it is."""
    try:
        return _write(_read(arguments or "{}")).decode()
    except msgspec.DecodeError:
        return arguments
