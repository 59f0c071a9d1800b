"""Workers on this machine: a process each, spoken to over its pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from harness.load import messages
from harness.load.messages import Done, Start, Stop, WorkerSpec
from harness.load.placement import Hear

_LAST_WORDS_S = 8.0  # from a worker's report to its end


class Local:
    """The placement that every run has unless it asks for another."""

    lead_ns = 80_000_000  # a worker hears of it in 1 ms, but then tidies its memory up for 30 ms

    def seat(self, index: int, hear: Hear) -> LocalSeat:
        return LocalSeat(hear)

    def synchronise(self) -> None:
        """All processes of one machine share its monotonic clock."""

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Nothing is left but the seats."""


class LocalSeat:
    """A worker's process and its pipes."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._has_reported = False
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "harness.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy's idle threads would share the worker's core
        )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def brief(self, spec: WorkerSpec) -> None:
        self._say(messages.encode(spec))

    def start(self, at_ns: int) -> None:
        self._say(messages.encode(Start(at_ns=at_ns)))

    def stop(self, *, drain: bool) -> None:
        self._say(messages.encode(Stop(drain=drain)))

    def how_it_ended(self) -> str:
        try:
            code = self._popen.wait(1.0)
        except subprocess.TimeoutExpired:
            return "it closed its pipe but still runs"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End it, politely at first. One that has said all is ending by itself, and is not disturbed in that."""
        if self._has_reported:
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_LAST_WORDS_S)
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(2.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        with suppress(ProcessLookupError, PermissionError):  # what an engine of its own has started
            os.killpg(self._popen.pid, signal.SIGKILL)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what it was told and never read
                    pipe.close()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            message = messages.decode_from_worker(line)
            self._has_reported = isinstance(message, Done)
            self._hear(message)
        self._hear(None)

    def _say(self, data: bytes) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # it is gone; the listener tells
            self._popen.stdin.write(data + b"\n")
            self._popen.stdin.flush()
