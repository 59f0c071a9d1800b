"""Reading the OpenAI dialect: chat completions and completions, streamed and not.

What each event of a stream means is decided here and nowhere else. Known traps, each with a test in
`tests/contract`: role-only first chunk, `content: ""` and `content: null`, role and first token in one chunk,
`reasoning` and `reasoning_content`, tool-call deltas, usage in a chunk with `choices: []` or in the finish chunk or
in every chunk, an error object in mid-stream, no `[DONE]`, no `finish_reason` before the end.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from harness.backends.mould import Mould
from harness.backends.openai_chunk import Choice, Chunk, Counts, Delta
from harness.backends.protocol import Output, Reply, Usage
from harness.backends.reading import UNREADABLE, error_text

_read_chunk = msgspec.json.Decoder(Chunk).decode
_read_any = msgspec.json.Decoder().decode

_NOTHING = Delta()
_SILENT = Choice()
_TEXT = [Output.CONTENT]
_SAID = (Output.NONE, Output.CONTENT)
_PROBES = ("?!", "", "!?")


class OpenAIDecoder:
    """Reads one answer in the OpenAI dialect. See `harness.backends.protocol.Decoder`."""

    __slots__ = (
        "_complete",
        "_error",
        "_event_tokens",
        "_finish",
        "_garbage",
        "_mould",
        "_reasoning",
        "_server",
        "_text",
        "_told",
        "_tools",
        "_usage",
    )

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}
        self._event_tokens: list[int] = []
        self._told: int | None = None  # output tokens told so far by usage in every chunk
        self._usage: Counts | None = None
        self._finish: str | None = None
        self._server: dict[str, Any] | None = None
        self._complete = False
        self._error: str | None = None
        self._garbage: str | None = None
        self._mould: Mould | None = None

    def event(self, data: bytes) -> Output:
        try:
            chunk = _read_chunk(data)
        except UNREADABLE:
            return self._unreadable(data)
        return self._take(chunk)

    def events(self, data: list[bytes]) -> list[Output]:
        outputs: list[Output] = []
        learning = True
        while len(outputs) < len(data):
            rest = data[len(outputs) :]
            texts = self._mould.texts(rest) if self._mould is not None else []
            if texts:
                self._text.append("".join(texts))
                outputs += _TEXT * len(texts) if all(texts) else [_SAID[bool(text)] for text in texts]
                continue
            outputs.append(self.event(rest[0]))
            if learning and outputs[-1] is Output.CONTENT:
                learning = False  # an answer whose events are all different is not asked again and again
                self._learn(rest[0])
        return outputs

    def _learn(self, data: bytes) -> None:
        """Have a mould of this event where it says a text and nothing else."""
        mould = Mould.of(data)
        self._mould = mould if mould is not None and all(_says(mould, text) for text in _PROBES) else None

    def _take(self, chunk: Chunk) -> Output:
        choices = chunk.choices
        if (chunk.usage or chunk.error or chunk.timings or chunk.metrics or chunk.x_groq) is not None:
            self._extras(chunk)
        if not choices:
            return Output.NONE
        choice = choices[0]
        output = Output.NONE
        if choice.index or len(choices) > 1:
            choice, output = _side_by_side(choices)
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
            self._complete = True
        delta = choice.delta
        if delta is None:
            if choice.text:
                self._text.append(choice.text)
                output = Output.CONTENT
        else:
            if delta.content:
                self._text.append(delta.content)
                output = Output.CONTENT
            if delta.tool_calls is not None or delta.reasoning_content or delta.reasoning or delta.refusal:
                output = max(output, self._rarer(delta))
        if choice.token_ids:
            output = output or Output.CONTENT  # tokens whose text the server held back
            self._event_tokens.append(len(choice.token_ids))
        elif output and self._told is not None:
            told = _told_by(chunk)
            if told is not None:
                self._event_tokens.append(max(0, told - self._told))
                self._told = told
        return output

    def _rarer(self, delta: Delta) -> Output:
        """Tool calls, refusals and reasoning."""
        output = Output.NONE
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            self._reasoning.append(reasoning)
            output = Output.REASONING
        if delta.refusal:
            self._text.append(delta.refusal)
            output = Output.CONTENT
        for call in delta.tool_calls or ():
            known = self._tools.setdefault(call.index, {"id": None, "name": "", "arguments": ""})
            if call.id:
                known["id"] = call.id
            if call.function is not None and (call.function.name or call.function.arguments):
                known["name"] += call.function.name or ""
                known["arguments"] += call.function.arguments or ""
                output = Output.CONTENT
        return output

    def _extras(self, chunk: Chunk) -> None:
        """Usage, errors and engine timings, in whichever event they come."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        if self._told is None and chunk.choices and chunk.choices[0].finish_reason is None:
            self._told = 0 if _told_by(chunk) is not None else None  # counts before the end: they come in every chunk
        if chunk.error and self._error is None:
            self._error = error_text(chunk.error)
        for name in ("timings", "metrics", "time_info", "x_groq"):
            part = getattr(chunk, name)
            if part is not None:
                self._server = {**(self._server or {}), name: part}
        if chunk.x_groq is not None and self._usage is None:
            with suppress(msgspec.ValidationError):
                self._usage = msgspec.convert(chunk.x_groq.get("usage"), Counts | None)

    def _unreadable(self, data: bytes) -> Output:
        data = data.strip()
        if data == b"[DONE]":
            self._complete = True
        if data in (b"", b"[DONE]"):
            return Output.NONE
        try:  # JSON of another shape may still be an error object
            value = _read_any(data)
        except UNREADABLE:
            value = None
        if isinstance(value, dict) and value.get("error"):
            self._error = self._error or error_text(value["error"])
        elif self._garbage is None:
            self._garbage = data[:2048].decode("utf-8", "replace")
        return Output.NONE

    def body(self, data: bytes) -> None:
        try:
            chunk = _read_chunk(data)
        except UNREADABLE:
            self._garbage = data[:2048].decode("utf-8", "replace")
            return
        self._extras(chunk)
        for choice in (chunk.choices or ())[:1]:
            message = choice.message or _NOTHING
            if message.content or choice.text:
                self._text.append(message.content or choice.text or "")
            self._rarer(message)
            self._finish = choice.finish_reason
            self._complete = True
        if chunk.usage is not None and chunk.usage.completion_tokens:
            self._event_tokens = [chunk.usage.completion_tokens]  # all in one event
        if not chunk.choices and self._error is None:
            self._garbage = data[:2048].decode("utf-8", "replace")

    def reply(self) -> Reply:
        text = "".join(self._text)
        reasoning = "".join(self._reasoning)
        tools = [self._tools[index] for index in sorted(self._tools)]
        size = len(text.encode("utf-8", "surrogatepass")) + len(reasoning.encode("utf-8", "surrogatepass"))
        size += sum(len((tool["name"] + tool["arguments"]).encode("utf-8", "surrogatepass")) for tool in tools)
        return Reply(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            output_bytes=size,
            finish_reason=self._finish,
            usage=_usage(self._usage),
            complete=self._complete,
            error=self._error,
            garbage=self._garbage,
            event_tokens=self._event_tokens or None,
            server=self._server,
        )


def _says(mould: Mould, text: str) -> bool:
    """Whether an event of this mould says this text, and nothing else that would be remembered."""
    decoder = OpenAIDecoder()
    output = decoder.event(mould.cast(text.encode()))
    alone = decoder._usage is None and decoder._told is None
    return alone and output is _SAID[bool(text)] and decoder.reply() == Reply(text=text, output_bytes=len(text))


def _side_by_side(choices: list[Choice]) -> tuple[Choice, Output]:
    """Several answers at once (`n` > 1): all of them are output, but the text is that of the first."""
    output = Output.NONE
    for choice in choices:
        if choice.index:
            delta = choice.delta or _NOTHING
            if choice.text or delta.content or delta.tool_calls or delta.refusal:
                output = Output.CONTENT
            elif delta.reasoning_content or delta.reasoning:
                output = max(output, Output.REASONING)
    return next((choice for choice in choices if not choice.index), _SILENT), output


def _told_by(chunk: Chunk) -> int | None:
    """Output tokens so far, where the chunk tells: by its usage, or by llama.cpp's timings."""
    if chunk.usage is not None:
        return chunk.usage.completion_tokens or 0
    told = None if chunk.timings is None else chunk.timings.get("predicted_n")
    return told if isinstance(told, int) else None


def _usage(usage: Counts | None) -> Usage:
    if usage is None:
        return Usage()
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input=usage.prompt_tokens,
        cached=prompt.cached_tokens if prompt else None,
        output=usage.completion_tokens,
        reasoning=completion.reasoning_tokens if completion else None,
        written=prompt.cache_write_tokens if prompt else None,
    )
