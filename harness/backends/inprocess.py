"""What engines in our own process share: a backend without a server, and answers in the pieces a server would send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from pydantic import Field

from harness.backends.openai_dialect import Fields, OpenAIDialect
from harness.backends.protocol import Dialect, EngineFailure, Target
from harness.config import BackendConfig
from harness.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import httpx

_write = msgspec.json.Encoder().encode
_SERVER_KEYS = ("url", "launch", "api_key", "headers")


class InProcessParams(BackendConfig):
    """Keys of `backend:` that engines in our own process have in common."""

    engine: dict[str, Any] = Field(default_factory=dict, description="Arguments of the engine's own constructor")


class InProcessBackend:
    """A backend whose engine the one worker loads. Subclasses say which, and make it."""

    module: ClassVar[str]  # that must be there
    extra: ClassVar[str]  # of ours, that brings it
    packages: ClassVar[tuple[str, ...]]  # whose version is the engine's, the first that is installed
    name: ClassVar[str]  # as records of the target have it

    def __init__(self, params: Any) -> None:
        self.params = params

    @contextmanager
    def launch(self, log: Path | None = None) -> Iterator[BackendConfig]:
        """Nothing is started here; what can be known to be wrong is told before anything is.

        Raises:
            ConfigError: the config speaks of a server, or names no model.
            MissingExtra: the engine is not installed.
        """
        kind = self.params.kind
        for key in _SERVER_KEYS:
            if getattr(self.params, key):
                raise ConfigError(
                    f"backend.{key}",
                    f"kind {kind} has no server",
                    remedy=f"leave backend.{key} out, or take a kind that asks a server: harness probe --help",
                )
        if not self.params.model:
            raise ConfigError("backend.model", f"is missing: kind {kind} loads the model itself")
        if find_spec(self.module) is None:
            raise MissingExtra(f"backend kind '{kind}'", self.extra)
        yield self.params

    def dialect(self, target: Target) -> Dialect:
        return OpenAIDialect(self.params, target.model, strict=target.strict, fields=Fields(exact={"ignore_eos": True}))

    async def describe(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """The engine's version. There are no pages to ask."""
        target.engine = self.name
        target.facts["in_process"] = True
        for package in self.packages:
            try:
                target.engine_version = version(package)
                return
            except PackageNotFoundError:
                continue

    async def prepare(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Nothing: the engine was loaded for this run alone."""


class Asked(msgspec.Struct, kw_only=True):
    """One request of ours, as the dialect wrote it. `sampling` is what the config's `body` adds to it."""

    messages: list[dict[str, Any]] | None
    prompt: str | None
    max_tokens: int
    stream: bool
    sampling: dict[str, Any]

    @classmethod
    def read(cls, body: bytes) -> Asked:
        told = msgspec.json.decode(body)
        for name in ("model", "stream_options"):
            told.pop(name, None)
        return cls(
            messages=told.pop("messages", None),
            prompt=told.pop("prompt", None),
            max_tokens=told.pop("max_tokens"),
            stream=told.pop("stream", False),
            sampling=told,
        )


class Answer:
    """One answer on its way out: pieces of the OpenAI dialect, each handed on at the moment its tokens are there."""

    def __init__(self, asked: Asked, say: Callable[[bytes], None]) -> None:
        self._chat = asked.messages is not None
        self._stream = asked.stream
        self._say = say
        self._text: list[str] = []
        self.made = 0  # tokens so far

    def tokens(self, text: str, ids: list[int]) -> None:
        """Further tokens, and as much of their text as is whole."""
        self.made += len(ids)
        if not self._stream:
            self._text.append(text)
            return
        said = {"delta": {"content": text}} if self._chat else {"text": text}
        self._event({"choices": [{"index": 0, **said, "token_ids": ids}]})

    def end(self, finish_reason: str, *, prompt: int, cached: int | None, server: dict[str, Any]) -> None:
        """The end: how many tokens the prompt had, how many of them were cached, and the engine's own times."""
        details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
        usage = {"prompt_tokens": prompt, "completion_tokens": self.made, **details}
        if not self._stream:
            text = "".join(self._text)
            said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            choice = {"index": 0, **said, "finish_reason": finish_reason}
            self._say(_write({"choices": [choice], "usage": usage, **server}))
            return
        empty: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        self._event({"choices": [{"index": 0, **empty, "finish_reason": finish_reason}], "usage": usage, **server})
        self._say(b"data: [DONE]\n\n")

    def _event(self, event: dict[str, Any]) -> None:
        self._say(b"data: %b\n\n" % _write(event))


def does_not_fit(prompt: int, context: int) -> EngineFailure:
    """A prompt that leaves no room for an answer."""
    return EngineFailure("context_exceeded", f"a prompt of {prompt} tokens in a context of {context}")
