"""Anthropic's Messages API, of Anthropic itself and of the servers that speak it too (llama-server, vLLM).

A stream is a sequence of typed events: `message_start` (usage of the input), `content_block_start`,
`content_block_delta` (text, thinking, JSON of a tool call), `message_delta` (stop reason, usage of the output),
`message_stop`; `ping` anywhere; `error` at any time.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import Field, model_validator

from harness.backends.protocol import Call, Decoder, Output, Reply, Target, Usage
from harness.backends.reading import UNREADABLE, Pieces, error_text
from harness.backends.served import Served
from harness.config import BackendConfig

VERSION = "2023-06-01"
_STOP = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens: int | None = None


class _Block(msgspec.Struct):
    """A content block, or a change of one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    data: str | None = None  # of redacted thinking
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Block | None = None
    usage: _Usage | None = None
    error: Any = None


class _Body(msgspec.Struct):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: Any = None


_read_event = msgspec.json.Decoder(_Event).decode
_read_body = msgspec.json.Decoder(_Body).decode
_write = msgspec.json.Encoder().encode


class AnthropicDecoder:
    """Reads one answer. See `harness.backends.protocol.Decoder`."""

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._usage = _Usage()
        self._counted = False

    def event(self, data: bytes) -> Output:
        try:
            event = _read_event(data)
        except UNREADABLE:
            self._pieces.unreadable(data)
            return Output.NONE
        kind, pieces = event.type, self._pieces
        if kind == "content_block_delta" and event.delta is not None:
            return self._take(event.index, event.delta)
        if kind == "content_block_start" and event.content_block is not None:
            return self._take(event.index, event.content_block)
        if kind == "message_start" and event.message is not None and event.message.usage is not None:
            self._count(event.message.usage)
        elif kind == "message_delta":
            if event.usage is not None:
                self._count(event.usage)
            if event.delta is not None and event.delta.stop_reason is not None:
                pieces.finish = _STOP.get(event.delta.stop_reason, event.delta.stop_reason)
        elif kind == "message_stop":
            pieces.complete = True
        elif kind == "error" or event.error:
            pieces.fail(error_text(event.error))
        elif not kind:
            pieces.unreadable(data)
        return Output.NONE

    def _take(self, index: int, block: _Block) -> Output:
        """The output in a block or in a change of one."""
        pieces = self._pieces
        if block.text:
            pieces.text.append(block.text)
            return Output.CONTENT
        if block.thinking or block.data:
            pieces.reasoning.append(block.thinking or "")
            return Output.REASONING
        if block.partial_json:
            return pieces.tool(index, arguments=block.partial_json)
        if block.name:
            whole = _write(block.input).decode() if block.input else ""
            return pieces.tool(index, id=block.id, name=block.name, arguments=whole)
        return Output.NONE

    def _count(self, told: _Usage) -> None:
        """What is told later goes over what was told before: `message_delta` has the final counts."""
        self._counted = True
        for name in told.__struct_fields__:
            if getattr(told, name) is not None:
                setattr(self._usage, name, getattr(told, name))

    def events(self, data: list[bytes]) -> list[Output]:
        return [self.event(each) for each in data]

    def body(self, data: bytes) -> None:
        pieces = self._pieces
        try:
            body = _read_body(data)
        except UNREADABLE:
            pieces.unreadable(data)
            return
        if body.error:
            pieces.fail(error_text(body.error))
        elif body.content is None:
            pieces.unreadable(data)
        else:
            for index, block in enumerate(body.content):
                self._take(index, block)
            pieces.finish = _STOP.get(body.stop_reason or "", body.stop_reason)
            pieces.complete = True
            if body.usage is not None:
                self._count(body.usage)

    def reply(self) -> Reply:
        return self._pieces.reply(_usage(self._usage) if self._counted else Usage())


def _usage(told: _Usage) -> Usage:
    """`input_tokens` leaves out what was read from the cache and what was written to it: the input is all three."""
    if told.input_tokens is None:
        return Usage(output=told.output_tokens)
    read, written = told.cache_read_input_tokens, told.cache_creation_input_tokens
    return Usage(
        input=told.input_tokens + (read or 0) + (written or 0),
        cached=read,
        output=told.output_tokens,
        written=written,
    )


class AnthropicDialect:
    """How requests are written. See `harness.backends.protocol.Dialect`."""

    name = "anthropic"
    path = "/messages"

    def __init__(self, params: Any, model: str) -> None:
        self._model = model
        self.stream: bool = params.stream
        self._fixed: dict[str, Any] = {"stream": True} if params.stream else {}
        self._fixed |= params.body

    def encode(self, call: Call) -> bytes:
        system = [message["content"] for message in call.messages if message["role"] == "system"]
        turns = [message for message in call.messages if message["role"] != "system"]
        body: dict[str, Any] = {"model": call.model or self._model, "max_tokens": call.output_tokens}
        if system:
            body["system"] = "\n".join(system)
        body["messages"] = turns
        body |= self._fixed
        return _write(body)

    def decoder(self) -> Decoder:
        return AnthropicDecoder()


class Anthropic(Served):
    """An endpoint that speaks the Messages API."""

    name = "the Messages API"

    class Params(BackendConfig):
        """Keys of `backend:` for kind `anthropic`."""

        kind: str = "anthropic"
        url: str | None = Field("https://api.anthropic.com/v1", description="Base URL; /messages is below it")
        version: str = Field(VERSION, description="Sent as the header anthropic-version")

        @model_validator(mode="before")
        @classmethod
        def _in_headers(cls, data: Any) -> Any:
            """Key and version travel in headers of their own. What has the wrong shape is left to be refused."""
            given = (data.get("headers") or {}) if isinstance(data, dict) else None
            if not isinstance(given, dict):
                return data
            data = dict(data)
            headers = {"anthropic-version": str(data.get("version", VERSION)), **given}
            if isinstance(data.get("api_key"), str):
                headers.setdefault("x-api-key", data.pop("api_key"))
            if data.get("launch") is not None:
                data.setdefault("url", None)
            return {**data, "headers": headers}

    def dialect(self, target: Target) -> AnthropicDialect:
        return AnthropicDialect(self.params, target.model)
