"""The truth file: what really happened to each request, one JSON object a line, written when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from harness.errors import UsageError

_BUFFER = 64 * 1024
_FLUSH_S = 0.5


class Truth(msgspec.Struct, kw_only=True):
    """One request as the server saw it. `*_ns` are CLOCK_MONOTONIC; None means it did not happen.

    Attributes:
        id: the request's `x-request-id`, or None.
        number: 1 for the first request to arrive.
        conn: number of the connection, from 1.
        accept_ns, first_byte_ns, full_ns: connection taken; first byte and last byte of the request read.
        queued_ns, scheduled_ns, first_token_ns: checked and handed to the engine; in its first step; that
            step's end.
        head_ns: just before the write of the response head.
        event_ns: just before the write of each event, in order: role, tokens, usage, done.
        end_ns: the answer was over.
        finish: length, stop, tool_calls, abort (the client went away) or error.
        fault: the fault that struck it, by its name in `faults`.
        late_ns: the most that an event came after it was due; None where none was.
        waited: events that had to wait in the server because the client had not read those before.
        bytes_in, bytes_out: on the wire, headers included.
    """

    id: str | None
    number: int
    conn: int
    accept_ns: int
    first_byte_ns: int
    full_ns: int
    queued_ns: int | None = None
    scheduled_ns: int | None = None
    first_token_ns: int | None = None
    head_ns: int | None = None
    end_ns: int = 0
    status: int = 200
    stream: bool = False
    finish: str = "error"
    fault: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int = 0
    preemptions: int = 0
    late_ns: int | None = None
    waited: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    event_ns: list[int] = []


class TruthFile:
    """Appends to a file; what it holds is at most half a second old. `close` writes the rest.

    Raises:
        UsageError: the file cannot be opened.
    """

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise UsageError(f"cannot write the truth file {path}: {error.strerror}") from error
        self._encode = msgspec.json.Encoder().encode
        self._pending = bytearray()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def add(self, truth: Truth) -> None:
        """One line more."""
        self._pending += self._encode(truth)
        self._pending += b"\n"
        if len(self._pending) >= _BUFFER:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_FLUSH_S, self._flush)

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._file.write(self._pending)
            self._file.flush()
            self._pending.clear()
