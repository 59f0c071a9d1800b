"""What one event of the OpenAI dialect may hold, as far as it is read."""

from __future__ import annotations

from typing import Any

import msgspec


class Details(msgspec.Struct, gc=False):
    """Of one side of the counts."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None  # OpenRouter
    reasoning_tokens: int | None = None


class Counts(msgspec.Struct, gc=False):
    """The field `usage`."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Function(msgspec.Struct, gc=False):
    """What is called, in pieces."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A piece of a call."""

    index: int = 0
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What is new in an answer; a whole message has the same fields."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct, gc=False):
    """One answer of the `n` that were asked for."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class Chunk(msgspec.Struct, gc=False):
    """An event, or a whole body."""

    choices: list[Choice] | None = None
    usage: Counts | None = None
    error: Any = None
    timings: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    time_info: dict[str, Any] | None = None  # Cerebras
    x_groq: dict[str, Any] | None = None
