"""The fleet: starts the workers of a run, gives them one common start, and gathers what they say.

Each worker is a process of its own with a share of one plan. What a worker has measured lies in its own records file,
whatever happens to it; a worker that dies is reported, and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from harness.clock import now_ns
from harness.errors import ExitCode, HarnessError, TargetError, UsageError
from harness.load.local import Local
from harness.load.messages import Done, Failed, FromWorker, Ready, Tick, WorkerSpec
from harness.load.placement import Placement, Seat
from harness.load.reached import Reached
from harness.load.wire import IN_PROCESS
from harness.records.manifest import WorkerReport
from harness.records.snapshot import Snapshot

_READY_S = 120.0
_LOADED_S = 3600.0  # for a worker that loads an engine
_HEADS_UP_NS = 1_000_000_000  # of a start by appointment: workers watch their own health from about then on

OnTick = Callable[[list[Snapshot], int], None]


def auto_workers(wanted: int | str, concurrency: int | None) -> int:
    """How many workers: one for each core but one, at least one, never more than there are slots."""
    if isinstance(wanted, int):
        count = wanted
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, cores - 1)
    return count if concurrency is None else min(count, concurrency)


class _Member:
    """A worker and what it has said so far."""

    def __init__(self, index: int) -> None:
        self.seat: Seat
        self.number = index  # its number in the run
        self.snapshot: Snapshot | None = None
        self.report: WorkerReport | None = None
        self.gone = False


class Fleet:
    """The workers of one run. Use as a context manager: on exit no worker is left."""

    def __init__(self, count: int, placement: Placement | None = None) -> None:
        self._placement: Placement = placement or Local()
        self._inbox: SimpleQueue[tuple[_Member, FromWorker | None]] = SimpleQueue()
        self._members: list[_Member] = []
        self.t0_ns = 0
        self.watch: Callable[[], str | None] = lambda: None  # how the engine has ended; None while it runs
        self.engine_ended: str | None = None  # what `watch` said, once it did
        self._stops = 0
        self._stopped_ns = 0
        try:
            for index in range(count):
                self._members.append(self._member(index))
        except BaseException:
            self.close()
            raise

    def _member(self, index: int) -> _Member:
        member = _Member(index)
        member.seat = self._placement.seat(index, lambda message: self._inbox.put((member, message)))
        return member

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker that still runs."""
        for member in self._members:
            member.seat.close()
        self._placement.close()

    @property
    def size(self) -> int:
        return len(self._members)

    @property
    def pids(self) -> list[int]:
        return [member.seat.pid for member in self._members]

    def facts(self) -> dict[str, Any]:
        """What the placement knows of its machines: for the manifest."""
        return self._placement.facts()

    def brief(self, specs: list[WorkerSpec]) -> Reached | None:
        """Give each worker its spec and wait until all are ready. What a worker that holds its engine has reached.

        Raises:
            HarnessError: a worker could not get ready; its own message and exit code.
        """
        for member, spec in zip(self._members, specs, strict=True):
            member.number = spec.shard
            member.seat.brief(spec)
        waiting = {member.number for member in self._members}
        patience_s = _LOADED_S if specs[0].endpoint.url == IN_PROCESS else _READY_S
        deadline = time.monotonic() + patience_s
        reached = None
        while waiting:
            try:
                member, message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise HarnessError(f"worker {min(waiting)} did not get ready within {patience_s:g} s") from None
            if isinstance(message, Failed):
                raise _as_error(message)
            if message is None:
                raise HarnessError(f"worker {member.number} ended before the start: {member.seat.how_it_ended()}")
            if isinstance(message, Ready):
                waiting.discard(member.number)
                reached = reached or message.reached
        self._placement.synchronise()
        return reached

    def play(self, on_tick: OnTick, *, drain_s: float = 30.0, at_ns: int | None = None) -> list[WorkerReport]:
        """Start all workers at one instant, `at_ns` or else as soon as may be, and wait until the last has ended.

        `on_tick` gets the newest snapshot of every worker a few times a second, and the time on the run's axis.
        After a first `stop`, what has not ended within `drain_s` is stopped too. Once `watch` says how the engine has
        ended, everything is stopped at once, and its words are kept in `engine_ended`.
        """
        self.t0_ns = now_ns() + self._placement.lead_ns if at_ns is None else at_ns
        started = False
        while any(member.report is None and not member.gone for member in self._members):
            if not started and now_ns() >= self.t0_ns - _HEADS_UP_NS:
                started = True
                for member in self._members:
                    member.seat.start(self.t0_ns)
            self._listen()
            if self.engine_ended is None and (words := self.watch()) is not None:
                self.engine_ended = words
                self.stop()
                self.stop()
            if self._stops == 1 and now_ns() - self._stopped_ns > drain_s * 1e9:
                self.stop()
            snapshots = [member.snapshot for member in self._members if member.snapshot is not None]
            on_tick(snapshots, now_ns() - self.t0_ns)
        return [member.report or _dead(member) for member in self._members]

    def lost(self) -> str | None:
        """How the first worker ended, where that was unasked; None while it runs, or once it has reported."""
        first = self._members[0]
        return first.seat.how_it_ended() if first.gone and first.report is None else None

    def _listen(self) -> None:
        """Wait a moment for messages, and take all that have come: only the newest snapshots matter."""
        try:
            _take(*self._inbox.get(timeout=0.25))
            while True:
                _take(*self._inbox.get_nowait())
        except Empty:
            pass

    def stop(self) -> None:
        """First call: drain. Second: now."""
        self._stops += 1
        self._stopped_ns = now_ns()
        for member in self._members:
            member.seat.stop(drain=self._stops == 1)


def _take(member: _Member, message: FromWorker | None) -> None:
    if isinstance(message, Tick):
        member.snapshot = message.snapshot
    elif isinstance(message, Done):
        member.snapshot, member.report = message.snapshot, message.report
    elif isinstance(message, Failed):
        member.report = _dead(member, message.message)
    elif message is None:
        member.gone = True


def _dead(member: _Member, words: str | None = None) -> WorkerReport:
    """What is known of a worker that did not report: its last snapshot."""
    last = member.snapshot or Snapshot(worker=member.number, t_ns=0)
    return WorkerReport(
        worker=member.number,
        end_ns=last.t_ns,
        sessions_started=last.sessions_started,
        sessions_finished=last.sessions_done,
        sessions_failed=last.sessions_failed,
        requests=last.requests_sent,
        died=words or member.seat.how_it_ended(),
        health=last.health,
    )


def _as_error(message: Failed) -> HarnessError:
    kinds = {int(ExitCode.USAGE): UsageError, int(ExitCode.TARGET): TargetError}
    return kinds.get(message.exit_code, HarnessError)(message.message, remedy=message.remedy)
