"""How an answer is said in the OpenAI dialect, as vLLM writes it: as events, or as one JSON object."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from harness.sim.ask import Ask
from harness.sim.script import Part, Script
from harness.sim.tokenizer import token_id

_json = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"
GARBAGE = b'data: {"id": "chatcmpl-gar\n\n'


def event(payload: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + _json(payload) + b"\n\n"


def error_body(message: str, *, kind: str, code: int, param: str | None = None) -> bytes:
    """An OpenAI-shaped error object."""
    return _json({"error": {"message": message, "type": kind, "param": param, "code": code}})


class Frames:
    """The events of one answer, in bytes. Knows nothing of when they are sent."""

    __slots__ = ("_ask", "_head", "_id", "_object", "_plain", "_prompt_tokens", "_script", "_tail", "_whole")

    def __init__(self, ask: Ask, script: Script, request_id: str, model: str) -> None:
        self._ask = ask
        self._script = script
        self._prompt_tokens = len(ask.prompt)
        kind = ("chatcmpl-", "chat.completion") if ask.chat else ("cmpl-", "text_completion")
        self._id = {
            "id": kind[0] + request_id,
            "object": kind[1],
            "created": int(time.time()),
            "model": model,
        }
        self._whole = dict(self._id)
        if ask.chat:
            self._id["object"] = "chat.completion.chunk"
        # Most events are of one shape: everything around the text is made once.
        self._plain = not (ask.return_token_ids or ask.continuous_usage or script.tool)
        start = b"data: " + _json(self._id)[:-1] + b',"choices":[{"index":0,'
        self._head = start + (b'"delta":{"content":"' if ask.chat else b'"text":"')
        self._tail = (b'"}' if ask.chat else b'"') + b',"logprobs":null,"finish_reason":null}]}\n\n'

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the token counts at the end."""
        return self._ask.include_usage

    def role(self) -> bytes | None:
        """The role-only event that opens a chat answer."""
        if not self._ask.chat:
            return None
        payload = self._payload({"role": "assistant", "content": ""}, None, None, 0)
        if self._ask.return_token_ids:
            payload["prompt_token_ids"] = [token_id(token) for token in self._ask.prompt]
        return event(payload)

    def tokens(self, first: int, count: int, finish: str | None, cached: int) -> bytes:
        """The event with `count` tokens from `first` on; `finish` where they are the last."""
        script = self._script
        if self._plain and finish is None and first >= script.reasoning:
            return b"%b%b%b" % (self._head, script.text(first, count).encode(), self._tail)
        ids = None
        if self._ask.return_token_ids:
            ids = [token_id(script.piece(k)) for k in range(first, first + count)]
        payload = self._payload(self._delta(first, count), finish, ids, first + count, cached)
        if ids is not None and first == 0 and not self._ask.chat:
            payload["choices"][0]["prompt_token_ids"] = [token_id(token) for token in self._ask.prompt]
        return event(payload)

    def nothing(self, finish: str) -> bytes:
        """An event without text that ends an empty answer."""
        return event(self._payload({} if self._ask.chat else "", finish, None, 0))

    def usage(self, produced: int, cached: int) -> bytes:
        """The event with the token counts and no choice."""
        return event({**self._id, "choices": [], "usage": self._usage(produced, cached)})

    def error(self, message: str, code: int) -> bytes:
        """An error inside a stream."""
        return b"data: " + error_body(message, kind="InternalServerError", code=code) + b"\n\n"

    def whole(self, produced: int, finish: str, cached: int) -> bytes:
        """The answer that is not streamed."""
        script = self._script
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish}
        if not self._ask.chat:
            choice["text"] = script.text(0, produced)
        else:
            choice["message"] = self._message(produced)
        answer = {**self._whole, "choices": [choice], "usage": self._usage(produced, cached)}
        if self._ask.return_token_ids:
            choice["token_ids"] = [token_id(script.piece(k)) for k in range(produced)]
            (answer if self._ask.chat else choice)["prompt_token_ids"] = [token_id(token) for token in self._ask.prompt]
        return _json(answer)

    def _message(self, produced: int) -> dict[str, Any]:
        script = self._script
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if script.tool and produced:
            function = {"name": script.tool, "arguments": script.text(0, produced)}
            message["tool_calls"] = [{"id": self._call_id(), "type": "function", "function": function}]
            return message
        thought = min(script.reasoning, produced)
        if thought:
            message["reasoning_content"] = script.text(0, thought)
        if produced > thought or not thought:
            message["content"] = script.text(thought, produced - thought)
        return message

    def _delta(self, first: int, count: int) -> Any:
        script = self._script
        text = script.text(first, count)
        if not self._ask.chat:
            return text
        part = script.part(first)
        if part is not Part.TOOL:
            return {part.value: text}
        call: dict[str, Any] = {"index": 0}
        if first == 0:
            call |= {"id": self._call_id(), "type": "function"}
            call["function"] = {"name": script.tool, "arguments": text}
        else:
            call["function"] = {"arguments": text}
        return {"tool_calls": [call]}

    def _payload(
        self, delta: Any, finish: str | None, ids: list[int] | None, produced: int, cached: int = 0
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta" if self._ask.chat else "text": delta}
        choice |= {"logprobs": None, "finish_reason": finish}
        if ids is not None:
            choice["token_ids"] = ids
        payload: dict[str, Any] = {**self._id, "choices": [choice]}
        if self._ask.continuous_usage:
            payload["usage"] = self._usage(produced, cached)
        return payload

    def _usage(self, produced: int, cached: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": produced,
            "total_tokens": self._prompt_tokens + produced,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if self._script.reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": min(self._script.reasoning, produced)}
        return usage

    def _call_id(self) -> str:
        return f"call_{self._id['id']}"
