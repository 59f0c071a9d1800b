"""The simulated tokenizer: deterministic, the same in every process, and easy to count by hand.

A token is an optional single space and up to eight further non-space characters, or a run of up to eight
white-space characters. So an ordinary short word is one token, and text that is appended to never changes the
tokens before it.

A chat prompt is `<|im_start|> role \\n content <|im_end|>` for each message and `<|im_start|> assistant \\n`
at its end: four tokens more than the content for a message, and three for the prompt. Tool definitions and
tool calls count as the JSON text they came as.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

MESSAGE_OVERHEAD = 4
GENERATION_OVERHEAD = 3
VOCABULARY = 131_072

_START, _NEWLINE, _END = "<|im_start|>", "\n", "<|im_end|>"

pieces = re.compile(r" ?\S{1,8}|\s{1,8}").findall


class Part(msgspec.Struct):
    """A part of a message's content. Only text parts count; an image has no tokens here."""

    type: str = "text"
    text: str = ""


class Message(msgspec.Struct):
    """A chat message, as the tokenizer needs it."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()

    def text(self) -> str:
        """All text of the message in order."""
        content = self.content
        if content is None:
            return ""
        return content if isinstance(content, str) else "".join(part.text for part in content)


def chat_prompt(messages: Iterable[Message], tools: bytes = b"", *, generation: bool = True) -> list[str]:
    """The tokens of a chat prompt. `tools` is the JSON of the tool definitions, put first."""
    prompt: list[str] = pieces(tools.decode()) if tools else []
    for message in messages:
        prompt += (_START, message.role, _NEWLINE)
        prompt += pieces(message.text())
        calls = bytes(message.tool_calls)
        if calls and calls != b"null":
            prompt += pieces(calls.decode())
        prompt.append(_END)
    if generation:
        prompt += (_START, "assistant", _NEWLINE)
    return prompt


def token_id(token: Any) -> int:
    """The id of a piece of text; a token that came as an id is its own."""
    return token if isinstance(token, int) else zlib.crc32(token.encode()) % VOCABULARY
