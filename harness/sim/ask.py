"""What a client asks for: the request bodies of the OpenAI dialect, checked as a server would check them."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import Any, cast

import msgspec

from harness.sim.tokenizer import Message, chat_prompt, pieces


class Refusal(Exception):
    """The request cannot be served. Becomes an HTTP error with an OpenAI-shaped body."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class _Function(msgspec.Struct):
    name: str


class _Tool(msgspec.Struct):
    function: _Function


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = False
    n: int | None = 1
    temperature: float | None = None
    seed: int | None = None
    return_token_ids: bool | None = False


class _ChatBody(_Body):
    messages: list[Message] = []
    tools: msgspec.Raw = msgspec.Raw()
    tool_choice: Any = None


class _CompletionBody(_Body):
    prompt: str | list[Any] | None = None


class _TokenizeBody(msgspec.Struct):
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: msgspec.Raw = msgspec.Raw()
    add_generation_prompt: bool = True


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. `prompt` holds pieces of text or token ids, never both."""

    chat: bool
    model: str | None
    prompt: list[Hashable]
    stream: bool
    include_usage: bool
    continuous_usage: bool
    return_token_ids: bool
    max_tokens: int | None
    min_tokens: int
    ignore_eos: bool
    tool: str | None
    greedy: bool
    seed: int | None

    def fingerprint(self) -> int:
        """A number that depends on the prompt alone and is the same in every process."""
        if self.prompt and isinstance(self.prompt[0], int):
            return zlib.crc32(repr(self.prompt).encode())
        return zlib.crc32("".join(cast(list[str], self.prompt)).encode())


def _decoder(kind: Any) -> Any:
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise Refusal(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refusal(f"The body is not valid JSON: {error}") from error

    return read


_read_chat = _decoder(_ChatBody)
_read_completion = _decoder(_CompletionBody)
_read_tokenize = _decoder(_TokenizeBody)
_read_tools = _decoder(list[_Tool] | None)


def parse_chat(body: bytes) -> Ask:
    """The request in the body of `POST /v1/chat/completions`.

    Raises:
        Refusal: the body is no JSON, or asks for what the server does not do.
    """
    read: _ChatBody = _read_chat(body)
    if not read.messages:
        raise Refusal("messages must not be empty", param="messages")
    raw = bytes(read.tools)
    tools = _read_tools(raw) if raw else None
    tool = tools[0].function.name if tools and read.tool_choice != "none" else None
    limit = read.max_tokens if read.max_completion_tokens is None else read.max_completion_tokens
    return _ask(read, chat_prompt(read.messages, raw if tools else b""), limit, chat=True, tool=tool)


def parse_completion(body: bytes) -> Ask:
    """The request in the body of `POST /v1/completions`. The prompt is text or an array of token ids.

    Raises:
        Refusal: as `parse_chat`.
    """
    read: _CompletionBody = _read_completion(body)
    limit = 16 if read.max_tokens is None else read.max_tokens  # OpenAI's default for this endpoint
    return _ask(read, _completion_prompt(read.prompt), limit, chat=False, tool=None)


def _completion_prompt(prompt: str | list[Any] | None) -> list[Any]:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        prompt = pieces(prompt)
    elif not isinstance(prompt, list) or not all(type(token) is int and token >= 0 for token in prompt):
        raise Refusal("prompt must be one string or one array of token ids", param="prompt")
    if not prompt:
        raise Refusal("prompt must not be empty", param="prompt")
    return list(prompt)


def _ask(read: _Body, prompt: list[Any], limit: int | None, *, chat: bool, tool: str | None) -> Ask:
    if read.n not in (None, 1):
        raise Refusal(f"n is {read.n}; this server gives one answer a request", param="n")
    if limit is not None and limit < 1:
        raise Refusal(f"max_tokens must be at least 1, got {limit}", param="max_tokens")
    least = read.min_tokens or 0
    if least < 0 or (limit is not None and least > limit):
        raise Refusal(f"min_tokens is {least}, max_tokens is {limit}", param="min_tokens")
    options = read.stream_options or _StreamOptions()
    if read.stream_options and not read.stream:
        raise Refusal("stream_options needs stream: true", param="stream_options")
    return Ask(
        chat=chat,
        model=read.model,
        prompt=prompt,
        stream=bool(read.stream),
        include_usage=bool(options.include_usage),
        continuous_usage=bool(options.include_usage and options.continuous_usage_stats),
        return_token_ids=bool(read.return_token_ids),
        max_tokens=limit,
        min_tokens=least,
        ignore_eos=bool(read.ignore_eos),
        tool=tool,
        greedy=read.temperature == 0,
        seed=read.seed,
    )


def parse_tokenize(body: bytes) -> list[str]:
    """The tokens of what the body of `POST /tokenize` holds: `prompt`, or `messages` with the chat template.

    Raises:
        Refusal: it holds neither, or is no JSON.
    """
    read: _TokenizeBody = _read_tokenize(body)
    if read.messages is not None:
        return chat_prompt(read.messages, bytes(read.tools), generation=read.add_generation_prompt)
    if read.prompt is None:
        raise Refusal("give prompt or messages", param="prompt")
    return pieces(read.prompt)
