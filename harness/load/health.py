"""A worker watching itself: loop lag, send lag, CPU, GC pauses, kernel delay. Measured, never assumed.

The collector is frozen and off while the load runs; a young collection is done by hand, between reads, and timed.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from array import array
from collections.abc import Callable
from time import thread_time

from harness.clock import now_ns
from harness.load.kernelclock import KernelClock
from harness.load.scheduler import Scheduler
from harness.load.tail import Tail
from harness.records.snapshot import Health

_BEAT_NS = 50_000_000
_COLLECT_BEATS = 200  # every ten seconds


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class HealthMonitor:
    """Collects lags while the load runs; `read` gives the figures so far."""

    def __init__(self, scheduler: Scheduler, kernel_clock: Callable[[], KernelClock | None] = lambda: None) -> None:
        self._scheduler = scheduler
        self._kernel_clock = kernel_clock
        self._loop_lags: array[int] = array("q")
        self._send_lags: array[int] = array("q")
        self._loop_tail, self._send_tail = Tail(lambda: self._loop_lags), Tail(lambda: self._send_lags)
        self._kernel_tail = Tail(self._kernel_delays)
        self._gc_pause_ns = 0
        self._due = 0
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._started_ns = 0
        self._cpu_at_start = 0.0
        self.limit_waits = 0
        self.write_lag_s: Callable[[], float] = lambda: 0.0

    def start(self) -> None:
        """Begin watching, with the collector frozen."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._started_ns = self._scheduler.now()
        self._cpu_at_start = thread_time()
        self._due = self._started_ns + _BEAT_NS
        self._timer = self._scheduler.at(self._due, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        gc.enable()
        gc.unfreeze()

    def sent(self, lag_ns: int) -> None:
        """A request left this long after it was due."""
        self._send_lags.append(lag_ns)

    def _beat(self) -> None:
        now = self._scheduler.now()
        self._loop_lags.append(max(0, now - self._due))
        self._beats += 1
        if self._beats % _COLLECT_BEATS == 0:
            self._scheduler.chore(self._collect)
        self._due = max(self._due + _BEAT_NS, now + _BEAT_NS // 2)
        self._timer = self._scheduler.at(self._due, self._beat)

    def _collect(self) -> bool:
        before = now_ns()
        gc.collect(1)
        self._gc_pause_ns = max(self._gc_pause_ns, now_ns() - before)
        return False

    def _kernel_delays(self) -> array[int]:
        kernel = self._kernel_clock()
        return kernel.delays_ns if kernel is not None else array("q")

    def read(self, *, exact: bool = False) -> Health:
        """The figures so far; quantiles are estimates unless `exact`, which takes longer.

        The CPU share is the loop's, of the time since `start`: an engine in process has threads of its own.
        """
        wall = max(1, self._scheduler.now() - self._started_ns) / 1e9
        kernel = self._kernel_clock()
        return Health(
            loop_lag_p99_s=self._loop_tail.p99_s(exact=exact) or 0.0,
            loop_lag_max_s=self._loop_tail.max_s(),
            send_lag_p99_s=self._send_tail.p99_s(exact=exact) or 0.0,
            send_lag_max_s=self._send_tail.max_s(),
            cpu_share=(thread_time() - self._cpu_at_start) / wall,
            gc_pause_max_s=self._gc_pause_ns / 1e9,
            kernel_delay_p99_s=self._kernel_tail.p99_s(exact=exact),
            limit_waits=self.limit_waits,
            write_lag_max_s=self.write_lag_s(),
            clock_steps=kernel.steps if kernel is not None else 0,
            rss_bytes=_rss_bytes(),
        )
