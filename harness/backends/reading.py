"""What decoders of typed events gather, whatever the events are called."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.backends.protocol import Output, Reply, Usage

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # all that decoding JSON raises
_KEPT = 2048
_read_any = msgspec.json.Decoder().decode


class Pieces:
    """The parts of one answer, in the order they came."""

    __slots__ = ("_error", "_garbage", "complete", "finish", "reasoning", "server", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tools: dict[int, dict[str, Any]] = {}
        self.finish: str | None = None
        self.complete = False
        self.server: dict[str, Any] | None = None  # timings of the engine's own
        self._error: str | None = None
        self._garbage: str | None = None

    def tool(self, index: int, *, id: str | None = None, name: str = "", arguments: str = "") -> Output:
        """A piece of the tool call number `index`. It counts as output."""
        call = self.tools.setdefault(index, {"id": None, "name": "", "arguments": ""})
        call["id"] = id or call["id"]
        call["name"] += name
        call["arguments"] += arguments
        return Output.CONTENT

    def fail(self, words: str) -> None:
        """An error inside of an HTTP 200. The first is kept."""
        self._error = self._error or words

    def unreadable(self, data: bytes) -> None:
        """An event of no known shape: an error object, perhaps; or else garbage, of which the first is kept."""
        if not data.strip():
            return
        try:
            value = _read_any(data)
        except UNREADABLE:
            value = None
        if isinstance(value, dict) and value.get("error"):
            self.fail(error_text(value["error"]))
        elif self._garbage is None:
            self._garbage = data[:_KEPT].decode("utf-8", "replace")

    def reply(self, usage: Usage) -> Reply:
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        calls = [self.tools[index] for index in sorted(self.tools)]
        said = [text, reasoning, *(call["name"] + call["arguments"] for call in calls)]
        return Reply(
            text=text,
            reasoning=reasoning,
            tool_calls=calls,
            output_bytes=sum(len(words.encode("utf-8", "surrogatepass")) for words in said),
            finish_reason=self.finish,
            usage=usage,
            complete=self.complete,
            error=self._error,
            garbage=self._garbage,
            server=self.server,
        )


def error_text(error: Any) -> str:
    """The words of an error object, with its code where it has one."""
    if isinstance(error, dict):
        message = error.get("message") or error.get("type") or error
        code = error.get("code")
        return f"{code}: {message}" if code else str(message)
    return str(error)
