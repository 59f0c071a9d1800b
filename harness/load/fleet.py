"""The fleet: starts the workers of a run, gives them one common start, and gathers what they say.

Each worker is a process of its own with a share of one plan. What a worker has measured lies in its own records file,
whatever happens to it; a worker that dies is reported, and the others go on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType

from harness.clock import now_ns
from harness.errors import ExitCode, HarnessError, TargetError, UsageError
from harness.load import messages
from harness.load.messages import Done, Failed, FromWorker, Ready, Start, Stop, Tick, WorkerSpec
from harness.records.manifest import WorkerReport
from harness.records.snapshot import Snapshot

_READY_S = 120.0
_LEAD_NS = 20_000_000  # from the word `start` to the start: time for it to reach every worker
_STOP_S = 10.0

OnTick = Callable[[list[Snapshot], int], None]


def auto_workers(wanted: int | str, concurrency: int | None) -> int:
    """How many workers: one for each core but one, at least one, never more than there are slots."""
    if isinstance(wanted, int):
        count = wanted
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, cores - 1)
    return count if concurrency is None else min(count, concurrency)


class _Process:
    """A worker's process and what it has said so far."""

    def __init__(self, index: int, inbox: SimpleQueue[tuple[int, FromWorker | None]]) -> None:
        self.index = index
        self.snapshot: Snapshot | None = None
        self.report: WorkerReport | None = None
        self.gone = False
        self._inbox = inbox
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

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._inbox.put((self.index, messages.decode_from_worker(line)))
        self._inbox.put((self.index, None))

    def say(self, data: bytes) -> None:
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(data + b"\n")
            self._popen.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it is gone; the listener tells

    def how_it_ended(self) -> str:
        try:
            code = self._popen.wait(1.0)
        except subprocess.TimeoutExpired:
            return "it closed its pipe but still runs"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End it, politely at first."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(2.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what it was told and never read
                    pipe.close()


class Fleet:
    """The workers of one run. Use as a context manager: on exit no worker is left."""

    def __init__(self, count: int) -> None:
        self._inbox: SimpleQueue[tuple[int, FromWorker | None]] = SimpleQueue()
        self._processes = [_Process(index, self._inbox) for index in range(count)]
        self.t0_ns = 0
        self.watch: Callable[[], str | None] = lambda: None  # how the engine has ended; None while it runs
        self.engine_ended: str | None = None  # what `watch` said, once it did
        self._stops = 0
        self._stopped_ns = 0

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.close()

    @property
    def size(self) -> int:
        return len(self._processes)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def brief(self, specs: list[WorkerSpec]) -> None:
        """Give each worker its spec and wait until all are ready.

        Raises:
            HarnessError: a worker could not get ready; its own message and exit code.
        """
        for process, spec in zip(self._processes, specs, strict=True):
            process.say(messages.encode(spec))
        waiting = {process.index for process in self._processes}
        deadline = time.monotonic() + _READY_S
        while waiting:
            try:
                index, message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise HarnessError(f"worker {min(waiting)} did not get ready within {_READY_S:g} s") from None
            if isinstance(message, Failed):
                raise _as_error(message)
            if message is None:
                raise HarnessError(f"worker {index} ended before the start: {self._processes[index].how_it_ended()}")
            if isinstance(message, Ready):
                waiting.discard(index)

    def play(self, on_tick: OnTick, *, drain_s: float = 30.0) -> list[WorkerReport]:
        """Start all workers at one instant and wait until the last has ended.

        `on_tick` gets the newest snapshot of every worker a few times a second, and the time on the run's axis.
        After a first `stop`, what has not ended within `drain_s` is stopped too. Once `watch` says how the engine has
        ended, everything is stopped at once, and its words are kept in `engine_ended`.
        """
        self.t0_ns = now_ns() + _LEAD_NS
        for process in self._processes:
            process.say(messages.encode(Start(at_ns=self.t0_ns)))
        while any(process.report is None and not process.gone for process in self._processes):
            try:
                index, message = self._inbox.get(timeout=0.25)
                self._take(self._processes[index], message)
                while True:  # all that has come meanwhile: only the newest snapshots matter
                    index, message = self._inbox.get_nowait()
                    self._take(self._processes[index], message)
            except Empty:
                pass
            if self.engine_ended is None and (words := self.watch()) is not None:
                self.engine_ended = words
                self.stop()
                self.stop()
            if self._stops == 1 and now_ns() - self._stopped_ns > drain_s * 1e9:
                self.stop()
            snapshots = [process.snapshot for process in self._processes if process.snapshot is not None]
            on_tick(snapshots, now_ns() - self.t0_ns)
        return [process.report or self._dead(process) for process in self._processes]

    def _take(self, process: _Process, message: FromWorker | None) -> None:
        if isinstance(message, Tick):
            process.snapshot = message.snapshot
        elif isinstance(message, Done):
            process.snapshot, process.report = message.snapshot, message.report
        elif isinstance(message, Failed):
            process.report = self._dead(process, message.message)
        elif message is None:
            process.gone = True

    def _dead(self, process: _Process, words: str | None = None) -> WorkerReport:
        """What is known of a worker that did not report: its last snapshot."""
        last = process.snapshot or Snapshot(worker=process.index, t_ns=0)
        return WorkerReport(
            worker=process.index,
            end_ns=last.t_ns,
            sessions_started=last.sessions_started,
            sessions_finished=last.sessions_done,
            sessions_failed=last.sessions_failed,
            requests=last.requests_sent,
            died=words or process.how_it_ended(),
            health=last.health,
        )

    def stop(self) -> None:
        """First call: drain. Second: now."""
        self._stops += 1
        self._stopped_ns = now_ns()
        for process in self._processes:
            process.say(messages.encode(Stop(drain=self._stops == 1)))


def _as_error(message: Failed) -> HarnessError:
    kinds = {int(ExitCode.USAGE): UsageError, int(ExitCode.TARGET): TargetError}
    return kinds.get(message.exit_code, HarnessError)(message.message, remedy=message.remedy)
