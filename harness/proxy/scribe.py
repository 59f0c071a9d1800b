"""`python -m harness.proxy.scribe`: the process that reads exchanges and writes the trace.

A process of its own, since reading prompts takes long enough to delay what is forwarded meanwhile. It is told all on
stdin, in frames: four bytes of length, then a message. When stdin ends, it writes what is open, says its tally on
stdout, and ends; so it does where the proxy was killed.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.proxy.conversation import Said, read
from harness.proxy.exchange import Exchange
from harness.proxy.grouping import Grouping, Placed
from harness.proxy.journal import Journal, line, path_of

_write = msgspec.json.Encoder().encode


class Opening(msgspec.Struct, tag="opening"):
    """The first message: where to write (the files exist), and when the recording began."""

    out: str
    contents: str | None
    idle_s: float
    origin_s: float


class Taken(msgspec.Struct, tag="taken"):
    """An exchange that has ended."""

    exchange: Exchange


class Passed(msgspec.Struct, tag="passed"):
    """Nothing that began before `since_s` is under way."""

    since_s: float


class Tally(msgspec.Struct):
    """What was written."""

    sessions: int = 0
    calls: int = 0
    unread: int = 0
    estimated: int = 0


Message = Opening | Taken | Passed

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Scribe:
    """Writes the trace, its journal, and contents where they are wanted."""

    def __init__(self, opening: Opening) -> None:
        out = Path(opening.out)
        self._path = out
        self._file = out.open("ab", buffering=0)
        self._contents = open(opening.contents, "ab", buffering=0) if opening.contents else None  # noqa: SIM115
        self._journal = Journal(out)
        self._idle_s = opening.idle_s
        self._grouping = Grouping(secrets.token_bytes(16), opening.origin_s)
        self._calls: dict[str, list[Placed]] = {}
        self.tally = Tally()

    def take(self, exchange: Exchange) -> None:
        """Place a call, and write it down."""
        said = read(exchange)
        if said is None:
            self.tally.unread += 1
            return
        call = self._grouping.add(said)
        self._journal.add(call)
        self._calls.setdefault(call.session, []).append(call)
        self.tally.calls += 1
        self.tally.estimated += said.input_tokens is None or said.output_tokens is None
        if self._contents is not None:
            self._contents.write(_contents(call, said))

    def passed(self, since_s: float) -> None:
        """Write the sessions that are over: idle for long enough."""
        for session in self._grouping.over(since_s - self._idle_s):
            self._file.write(line(session, self._calls.pop(session)))
            self.tally.sessions += 1

    def close(self) -> None:
        """Write all that is open. The trace is whole then, and the journal not needed any more."""
        self.passed(float("inf"))
        self._journal.close()
        self._file.close()
        if self._contents is not None:
            self._contents.close()
        path_of(self._path).unlink()


def _contents(call: Placed, said: Said) -> bytes:
    kept = {"session": call.session, "name": call.node.name, "messages": said.messages, "answer": said.answer}
    return _write(kept | ({"tools": said.tools} if said.tools else {})) + b"\n"


def _messages(stream: BinaryIO) -> Message | None:
    head = stream.read(4)
    size = int.from_bytes(head, "big")
    body = stream.read(size)
    return _decode(body) if len(head) == 4 and len(body) == size else None


def _step_back() -> None:
    """Forwarding comes first, where both want the same core."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError, AttributeError):
        os.nice(10)


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the proxy's business: it ends stdin
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _step_back()
    stream = sys.stdin.buffer
    opening = _messages(stream)
    if not isinstance(opening, Opening):
        return
    scribe = Scribe(opening)
    while (message := _messages(stream)) is not None:
        if isinstance(message, Taken):
            scribe.take(message.exchange)
        elif isinstance(message, Passed):
            scribe.passed(message.since_s)
    scribe.close()
    with suppress(OSError):  # nobody may be left to hear it
        os.write(1, _write(scribe.tally))


if __name__ == "__main__":
    main()
