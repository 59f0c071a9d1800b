"""Reads exchanges and writes the trace, in a thread of its own, so that forwarding does not wait for it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from harness.errors import UsageError
from harness.proxy.conversation import Said, read
from harness.proxy.grouping import Gathered, Grouping
from harness.proxy.relay import Exchange
from harness.workloads.traces.harness import encode

_write = msgspec.json.Encoder().encode


class Recorder:
    """Writes to `out`, which must not exist. A session is written when it was idle for `idle_s`, or at the end."""

    def __init__(self, out: Path, *, idle_s: float, contents: bool, open_: set[Exchange]) -> None:
        try:
            self._file = out.open("xb")
            self._contents = out.with_name(out.name + ".contents").open("xb") if contents else None
        except OSError as error:
            reason = "exists" if isinstance(error, FileExistsError) else error.strerror
            raise UsageError(f"cannot write {error.filename}: {reason}", remedy="give another --out") from None
        self._idle_s, self._open = idle_s, open_
        self._grouping = Grouping(secrets.token_bytes(16), time.monotonic())
        self._queue: SimpleQueue[Exchange | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="recorder", daemon=True)
        self.sessions = self.calls = self.unread = self.estimated = 0
        self._thread.start()

    def take(self, exchange: Exchange) -> None:
        """Hand over an exchange that has ended. Returns at once."""
        if exchange.wanted:
            self._queue.put(exchange)

    def close(self) -> None:
        """Write all that is open."""
        self._queue.put(None)
        self._thread.join()
        self._file.close()
        if self._contents is not None:
            self._contents.close()

    def _work(self) -> None:
        pause = min(1.0, self._idle_s / 4)
        due = time.monotonic() + pause
        while True:
            exchange: Exchange | None
            try:
                exchange = self._queue.get(timeout=pause)
                if exchange is None:
                    break
            except Empty:
                exchange = None
            if exchange is not None:
                self._read(exchange)
            now = time.monotonic()
            if now >= due:
                oldest = min((one.start_s for one in self._open.copy()), default=now)
                self._flush(oldest - self._idle_s)
                due = now + pause
        self._flush(float("inf"))

    def _read(self, exchange: Exchange) -> None:
        said = read(exchange)
        if said is None:
            self.unread += 1
        else:
            self._add(said)

    def _add(self, said: Said) -> None:
        self._grouping.add(said)
        self.calls += 1
        self.estimated += said.input_tokens is None or said.output_tokens is None

    def _flush(self, before_s: float) -> None:
        for session in self._grouping.over(before_s):
            self._file.write(encode(self._grouping.line(session)) + b"\n")
            self._file.flush()
            self.sessions += 1
            if self._contents is not None:
                self._keep(session)

    def _keep(self, session: Gathered) -> None:
        calls = sorted(session.calls, key=lambda call: call.said.start_s)
        assert self._contents is not None
        for number, call in enumerate(calls, 1):
            kept = {
                "session": session.id,
                "name": f"r{number}",
                "messages": call.said.messages,
                "answer": call.said.answer,
            }
            self._contents.write(_write(kept) + b"\n")
        self._contents.flush()
