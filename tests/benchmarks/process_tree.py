"""A command and all processes it starts, watched from outside: CPU over time, resident memory, and the bill at the end.

CPU comes from each process's own CPU clock (nanoseconds, all its threads), read every 20 ms; the bill of the whole
tree is what wait4 gives for the root and everything under it. Resident memory is the sum of RSS, so that pages which
processes share count once for each. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_TICK_S = 0.02
_EARLY = 100  # so many ticks new processes are looked for at each one, ...
_SELDOM = 10  # ... and then at each so many: a tree of hundreds of threads is long to walk
_PAGE = resource.getpagesize()
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 5.0


@dataclass(slots=True)
class _Series:
    """What one process had used (ns) at each sample (ns)."""

    at: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A tree that has ended. `code` is None where it was stopped for taking too long."""

    code: int | None
    started_ns: int
    ended_ns: int
    cpu_s: float
    peak_rss_bytes: int
    root: int
    series: Mapping[int, _Series]

    @property
    def wall_s(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e9

    def cpu_between(self, begin_ns: int, end_ns: int, *, others_to_their_end: bool = False) -> float:
        """CPU seconds of all processes from `begin_ns` to `end_ns`; of all but the root until they ended, if wanted."""
        total = 0.0
        for pid, series in self.series.items():
            end = np.inf if others_to_their_end and pid != self.root else end_ns
            total += float(np.diff(np.interp([begin_ns, end], series.at, series.cpu, left=0))[0])
        return total / 1e9


def watch(
    command: Sequence[str | Path],
    *,
    cores: set[int],
    output: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit_s: float = 600.0,
) -> Usage:
    """Run `command` on these cores to its end, with what it says in the file `output`."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what it leaves behind is ours to bill
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # of this thread, and inherited
    try:
        with output.open("wb") as said:
            started = time.monotonic_ns()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, ours)
    return _Watch(process, started).to_the_end(limit_s)


class _Watch:
    def __init__(self, process: subprocess.Popen[bytes], started_ns: int) -> None:
        self._root = process.pid
        self._process = process
        self._started_ns = started_ns
        self._series: dict[int, _Series] = {}
        self._peak = 0
        self._ended = threading.Event()

    def to_the_end(self, limit_s: float) -> Usage:
        sampler = threading.Thread(target=self._sample_all, daemon=True)
        sampler.start()
        late = threading.Timer(limit_s, self._kill)
        late.start()
        try:
            _, status, bill = os.wait4(self._root, 0)
            ended = time.monotonic_ns()
            in_time = late.is_alive()
        except KeyboardInterrupt:
            os.killpg(self._root, signal.SIGKILL)
            raise
        finally:
            late.cancel()
            self._ended.set()
        sampler.join()
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        cpu = bill.ru_utime + bill.ru_stime + self._bury()
        if list(self._series) in ([], [self._root]):  # it was alone: the bill is its own, to the end
            alone = self._series.setdefault(self._root, _Series([self._started_ns], [0]))
            alone.at.append(ended)
            alone.cpu.append(round(cpu * 1e9))
        sampled = sum(series.cpu[-1] for series in self._series.values() if series.cpu) / 1e9
        return Usage(
            code=code if in_time else None,
            started_ns=self._started_ns,
            ended_ns=ended,
            cpu_s=max(cpu, sampled),
            peak_rss_bytes=self._peak,
            root=self._root,
            series=self._series,
        )

    def _sample_all(self) -> None:
        ticks, pids = 0, [self._root]
        while not self._ended.wait(_TICK_S):
            if ticks < _EARLY or ticks % _SELDOM == 0:
                pids = _tree(self._root)
            self._sample(pids)
            ticks += 1

    def _sample(self, pids: Sequence[int]) -> None:
        resident = 0
        for pid in pids:
            try:
                cpu = time.clock_gettime_ns((~pid << 3) | 2)  # the process's CPU clock, as clock_getcpuclockid(3)
                resident += int(_text(f"/proc/{pid}/statm").split()[1]) * _PAGE
            except (OSError, IndexError):
                continue  # it has just ended
            series = self._series.setdefault(pid, _Series())
            if pid == self._root and not series.at:
                series.at.append(self._started_ns)
                series.cpu.append(0)
            series.at.append(time.monotonic_ns())
            series.cpu.append(cpu)
        self._peak = max(self._peak, resident)

    def _kill(self) -> None:
        os.killpg(self._root, signal.SIGTERM)
        if not self._ended.wait(_GRACE_S):
            os.killpg(self._root, signal.SIGKILL)

    def _bury(self) -> float:
        """End what the root has left behind in its group; the CPU seconds of it."""
        cpu, begin = 0.0, time.monotonic()
        while True:
            try:
                pid, _, bill = os.wait4(-self._root, os.WNOHANG)
            except ChildProcessError:
                return cpu
            if pid:
                cpu += bill.ru_utime + bill.ru_stime
                continue
            if time.monotonic() > begin + _GRACE_S:
                os.killpg(self._root, signal.SIGKILL)
            time.sleep(0.01)


def _tree(root: int) -> list[int]:
    """The root and everything under it, as far as still alive."""
    found = [root]
    for pid in found:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
            found.extend(int(child) for tid in threads for child in _text(f"/proc/{pid}/task/{tid}/children").split())
        except OSError:
            continue
    return found


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
