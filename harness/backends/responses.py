"""OpenAI's Responses API, of OpenAI itself and of the servers that speak it too (llama-server, vLLM).

A stream is a sequence of typed events. Output comes in `response.output_text.delta`, `response.refusal.delta`,
`response.reasoning_text.delta` and `response.reasoning_summary_text.delta`, `response.function_call_arguments.delta`;
the end is `response.completed`, `response.incomplete` or `response.failed`, each with the whole response in it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import Field, model_validator

from harness.backends.protocol import Call, Decoder, Output, Reply, Target, Usage
from harness.backends.reading import UNREADABLE, Pieces, error_text
from harness.backends.served import Served
from harness.config import BackendConfig

_TEXT = {"response.output_text.delta", "response.refusal.delta"}
_REASONING = {"response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.reasoning.delta"}
_TOOLS = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    id: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    error: Any = None
    incomplete_details: _Reason | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int | None = None
    item_id: str | None = None
    delta: str | None = None
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    message: str | None = None
    code: str | None = None
    timings: dict[str, Any] | None = None  # llama.cpp


_read_event = msgspec.json.Decoder(_Event).decode
_read_body = msgspec.json.Decoder(_Response).decode
_write = msgspec.json.Encoder().encode


class ResponsesDecoder:
    """Reads one answer. See `harness.backends.protocol.Decoder`."""

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._usage: _Usage | None = None
        self._places: dict[str, int] = {}  # of items, for servers that do not number them

    def event(self, data: bytes) -> Output:
        try:
            event = _read_event(data)
        except UNREADABLE:
            if data.strip() != b"[DONE]":  # some servers end so; the API itself does not
                self._pieces.unreadable(data)
            return Output.NONE
        kind, pieces = event.type, self._pieces
        if event.delta:
            if kind in _TEXT:
                pieces.text.append(event.delta)
                return Output.CONTENT
            if kind in _REASONING:
                pieces.reasoning.append(event.delta)
                return Output.REASONING
            if kind in _TOOLS:
                return pieces.tool(self._place(event), arguments=event.delta)
        elif kind == "response.output_item.added" and event.item is not None and event.item.name:
            return pieces.tool(self._place(event), id=event.item.call_id, name=event.item.name)
        elif kind in _ENDS and event.response is not None:
            self._end(event.response)
            if event.timings is not None:
                pieces.server = {"timings": event.timings}
        elif kind == "error" or event.error:
            pieces.fail(error_text(event.error or {"message": event.message, "code": event.code}))
        elif not kind:
            pieces.unreadable(data)
        return Output.NONE

    def _place(self, event: _Event) -> int:
        """The number of the item that an event is about."""
        if event.output_index is not None:
            return event.output_index
        name = event.item_id or (event.item.id if event.item else None) or ""
        return self._places.setdefault(name, len(self._places))

    def _end(self, response: _Response) -> None:
        pieces = self._pieces
        pieces.complete = True
        self._usage = response.usage
        if response.status == "incomplete":
            reason = response.incomplete_details.reason if response.incomplete_details else None
            pieces.finish = "length" if reason == "max_output_tokens" else reason or "incomplete"
        elif response.status == "failed" or response.error:
            pieces.fail(error_text(response.error or {"message": "the response failed"}))
        else:
            pieces.finish = "tool_calls" if pieces.tools else "stop"

    def events(self, data: list[bytes]) -> list[Output]:
        return [self.event(each) for each in data]

    def body(self, data: bytes) -> None:
        pieces = self._pieces
        try:
            response = _read_body(data)
        except UNREADABLE:
            pieces.unreadable(data)
            return
        if response.output is None and not response.error:
            pieces.unreadable(data)
            return
        for index, item in enumerate(response.output or ()):
            parts = [part.text or part.refusal or "" for part in (item.content or item.summary or ())]
            (pieces.reasoning if item.type == "reasoning" else pieces.text).extend(parts)
            if item.name:
                pieces.tool(index, id=item.call_id, name=item.name, arguments=item.arguments or "")
        self._end(response)

    def reply(self) -> Reply:
        return self._pieces.reply(_usage(self._usage))


def _usage(told: _Usage | None) -> Usage:
    if told is None:
        return Usage()
    read, made = told.input_tokens_details, told.output_tokens_details
    return Usage(
        input=told.input_tokens,
        cached=read.cached_tokens if read else None,
        output=told.output_tokens,
        reasoning=made.reasoning_tokens if made else None,
    )


class ResponsesDialect:
    """How requests are written. See `harness.backends.protocol.Dialect`."""

    name = "responses"
    path = "/responses"

    def __init__(self, params: Any, model: str, *, strict: bool = False) -> None:
        self._model = model
        self.stream: bool = params.stream
        self._fixed: dict[str, Any] = {"stream": True} if params.stream else {}
        if not strict:
            self._fixed["store"] = False  # answers are not kept, so each request holds the whole history
        self._fixed |= params.body

    def encode(self, call: Call) -> bytes:
        body = {
            "model": call.model or self._model,
            "input": [_item(message) for message in call.messages],
            "max_output_tokens": call.output_tokens,
            **self._fixed,
        }
        return _write(body)

    def decoder(self) -> Decoder:
        return ResponsesDecoder()


def _item(message: dict[str, Any]) -> dict[str, Any]:
    """A message as an input item. An earlier answer is output, and some servers want it told in full."""
    if message["role"] != "assistant":
        return message
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": message["content"]}]}


class Responses(Served):
    """An endpoint that speaks the Responses API."""

    name = "the Responses API"

    class Params(BackendConfig):
        """Keys of `backend:` for kind `responses`."""

        kind: str = "responses"
        url: str | None = Field("https://api.openai.com/v1", description="Base URL; /responses is below it")

        @model_validator(mode="before")
        @classmethod
        def _launched(cls, data: Any) -> Any:
            """A server that harness starts is not at OpenAI's."""
            return {"url": None, **data} if isinstance(data, dict) and data.get("launch") is not None else data

    def dialect(self, target: Target) -> ResponsesDialect:
        return ResponsesDialect(self.params, target.model, strict=target.strict)
