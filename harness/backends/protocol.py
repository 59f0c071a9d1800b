"""The small protocols of a backend: encode a call, decode its answer, say where the server is.

A *dialect* turns a `Call` into the bytes of a request body and reads the stream that comes back. It never sees a
socket or a clock. A *launcher* starts a server of ours and stops it again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from harness.config import BackendConfig

if TYPE_CHECKING:
    import httpx


class Call(msgspec.Struct, kw_only=True):
    """One model call, ready to be encoded. `messages` are chat messages: `{"role": ..., "content": ...}`."""

    id: str
    messages: list[dict[str, Any]]
    output_tokens: int
    exact_output: bool = False
    model: str | None = None


class Output(IntEnum):
    """What an event carried."""

    NONE = 0  # role, empty delta, usage, finish, comment
    REASONING = 1  # generated, but not part of the visible answer
    CONTENT = 2  # visible text or a tool-call delta


class Usage(msgspec.Struct, kw_only=True):
    """Token counts as the server gives them. Unknown is None."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    reasoning: int | None = None
    written: int | None = None  # of the input: written to a cache that bills for it


class Reply(msgspec.Struct, kw_only=True):
    """What one answer said, once it has ended.

    `complete` tells that the dialect's own end was seen ([DONE], a finish reason, ...). `error` is an error the
    server put inside an HTTP 200, `garbage` an event that could not be read.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = []
    output_bytes: int = 0
    finish_reason: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    complete: bool = False
    error: str | None = None
    garbage: str | None = None
    event_tokens: list[int] | None = None  # tokens of each event that carried output, where the server tells
    server: dict[str, Any] | None = None


class Decoder(Protocol):
    """Reads one answer. One instance a request."""

    def event(self, data: bytes) -> Output:
        """Take the data of one SSE event, in order. Never raises: what it cannot read, it remembers."""
        ...

    def events(self, data: list[bytes]) -> list[Output]:
        """Take the data of several SSE events, in order: the same as `event` for each."""
        ...

    def body(self, data: bytes) -> None:
        """Take the whole body of an answer that was not streamed."""
        ...

    def reply(self) -> Reply:
        """What was said, when no more is coming."""
        ...


class Dialect(Protocol):
    """How one API is spoken. Immutable; shared by all requests of a worker."""

    name: str  # of the API: openai, anthropic, responses
    path: str  # of the call, below the base URL, e.g. `/chat/completions`
    stream: bool

    def encode(self, call: Call) -> bytes:
        """The request body."""
        ...

    def decoder(self) -> Decoder: ...


class Target(msgspec.Struct, kw_only=True):
    """A server that is up: where it is, who it says it is, and what was found out about it by asking.

    `abilities` are the findings of `harness probe`; None means not known.
    """

    backend: str
    url: str
    model: str
    engine: str = ""
    engine_version: str | None = None
    simulated: bool = False
    strict: bool = False  # refuses unknown fields
    pid: int | None = None  # of the server, where we started it
    metrics_url: str | None = None
    tokenize_url: str | None = None
    abilities: dict[str, bool | None] = {}
    facts: dict[str, Any] = {}


class Backend(Protocol):
    """One kind of target. Registered under `harness.backends`; `Params` validates its config section.

    A backend may also have what `Launches` and `Describes` ask for; whoever runs it looks.
    """

    Params: type[BackendConfig]

    def __init__(self, params: BackendConfig) -> None: ...

    def launch(self, log: Path | None = None) -> AbstractContextManager[BackendConfig]:
        """Start the server where the config says so. Yields the params with `url` filled in; stops it at exit.

        What the server says goes to `log`, where one is given.
        """
        ...

    def dialect(self, target: Target) -> Dialect: ...


@runtime_checkable
class Launches(Protocol):
    """A backend that can tell how the server it started fares."""

    @property
    def pid(self) -> int | None:
        """Of the server, where we started it."""
        ...

    def ended(self) -> str | None:
        """How the server has ended, with its last words; None while it runs, and where it is somebody else's."""
        ...


@runtime_checkable
class Describes(Protocol):
    """A backend that knows its engine's own pages."""

    async def describe(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Ask the engine's own pages below `root` for what it is, and note it in `target`. Changes nothing there.

        Raises:
            httpx.HTTPError: a page could not be read; what is known by then stays noted.
        """
        ...

    async def prepare(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Bring the engine into the state that the load is to find.

        Raises:
            TargetError: it cannot be brought there, and the config insists.
        """
        ...


class EngineFailure(Exception):
    """An engine in our own process could not answer. `name` is one of the errors that records have."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail


class LocalEngine(Protocol):
    """An engine that works in the process of the load generator."""

    def load(self) -> None:
        """Load the model; called once, in a thread, before anything is asked.

        Raises:
            TargetError: it cannot be loaded.
        """
        ...

    async def answer(self, request_id: str, body: bytes, say: Callable[[bytes], None]) -> None:
        """Answer one request of the backend's dialect. Cancelled, the engine stops working on it.

        `say` takes each piece of the answer, as a server would send it, at the moment that piece is made; from any
        thread.

        Raises:
            EngineFailure: there is no answer, or it broke off.
        """
        ...

    def close(self) -> None:
        """Let go of the model and of all it has started. Called once, also where `load` failed."""
        ...


@runtime_checkable
class InProcess(Protocol):
    """A backend without a server: its engine works in the process of the one worker."""

    def engine(self) -> LocalEngine: ...
