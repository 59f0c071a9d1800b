"""The contract of a wire: whoever can put an `Exchange` on a network and bring its answer back.

A wire calls `exchange.done(exchange)` exactly once, from the loop's thread, when the answer has ended or failed.
It stamps; it never parses JSON and never waits for anything but the network.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from harness.load.exchange import Exchange

IN_PROCESS = "in-process"  # the URL of an engine that the worker itself holds


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go, and the headers that every one of them carries."""

    url: str  # base URL, e.g. http://127.0.0.1:8000/v1
    headers: dict[str, str] = {}
    verify: bool | str = True
    kernel_stamps: bool = True
    request_ids: bool | Literal["uuid"] = True  # what x-request-id holds; false: it is not sent
    reuse: bool = True  # false: a fresh connection for each request, since the server closes them


class Wire(Protocol):
    """One worker's way to the network."""

    async def open(self, connections: int) -> None:
        """Resolve the host and have up to `connections` connections ready before the start."""
        ...

    def render(self, exchange: Exchange) -> None:
        """Make the bytes of the request, ahead of time."""
        ...

    def send(self, exchange: Exchange) -> None:
        """Put it on the network now. Sets `sent_ns`."""
        ...

    def abort(self, exchange: Exchange, error: str, detail: str | None = None) -> None:
        """End it now with this error (timeout, cancellation). `done` is called."""
        ...

    async def close(self) -> None: ...
