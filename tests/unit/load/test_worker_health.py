"""A worker's account of itself, on stalls made on purpose."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from array import array
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.clock import VirtualLoop
from harness.load.health import HealthMonitor
from harness.load.kernelclock import KernelClock
from harness.load.scheduler import Scheduler
from harness.load.tail import Tail
from harness.records.snapshot import Health

MS = 1_000_000


def watched(script: Callable[[VirtualLoop, HealthMonitor], Coroutine[Any, Any, None]], **options: Any) -> Health:
    loop = VirtualLoop()

    async def main() -> Health:
        monitor = HealthMonitor(Scheduler(loop.now_ns), **options)
        monitor.start()
        try:
            await script(loop, monitor)
            return monitor.read(exact=True)
        finally:
            monitor.stop()

    health: Health = loop.run(main())
    return health


async def quiet(_loop: VirtualLoop, _monitor: HealthMonitor) -> None:
    await asyncio.sleep(10)


def test_a_quiet_loop_has_no_lag() -> None:
    health = watched(quiet)
    assert health.loop_lag_max_s < 1e-6 and health.send_lag_max_s == 0.0
    assert health.kernel_delay_p99_s is None and health.clock_steps == 0
    assert health.rss_bytes > 1_000_000


def test_a_stall_is_seen() -> None:
    async def stall(loop: VirtualLoop, _monitor: HealthMonitor) -> None:
        await asyncio.sleep(1.005)
        loop._jumping.virtual_ns += 500 * MS
        await asyncio.sleep(1)

    health = watched(stall)
    assert 0.4 <= health.loop_lag_max_s <= 0.5
    assert health.loop_lag_p99_s <= health.loop_lag_max_s


def test_a_loop_that_is_always_late_has_a_high_p99() -> None:
    async def busy(loop: VirtualLoop, _monitor: HealthMonitor) -> None:
        for _ in range(100):
            await asyncio.sleep(0.019)
            loop._jumping.virtual_ns += 30 * MS

    assert watched(busy).loop_lag_p99_s >= 0.01


def test_send_lags() -> None:
    async def sends(_loop: VirtualLoop, monitor: HealthMonitor) -> None:
        for lag in range(100):
            monitor.sent(lag * MS)

    health = watched(sends)
    assert (health.send_lag_p99_s, health.send_lag_max_s) == (0.099, 0.099)


def test_cpu_share_is_of_the_time_that_passed() -> None:
    async def burn(loop: VirtualLoop, _monitor: HealthMonitor) -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        loop._jumping.virtual_ns += 100 * MS

    assert 0.45 <= watched(burn).cpu_share <= 5.0


def test_the_collector_rests_while_the_load_runs() -> None:
    seen: list[bool] = []

    async def look(_loop: VirtualLoop, _monitor: HealthMonitor) -> None:
        seen.append(gc.isenabled())
        await asyncio.sleep(25)  # two collections by hand

    health = watched(look)
    assert seen == [False] and gc.isenabled()
    assert health.gc_pause_max_s > 0


def test_kernel_delays_and_clock_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = KernelClock()
    clock.delays_ns.extend([1000] * 99 + [50_000] * 2)
    before = clock.offset_ns
    clock.refresh()
    assert clock.steps == 0 and abs(clock.offset_ns - before) < 2_000_000
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 5 * 10**9)
    clock.refresh()
    assert clock.steps == 1 and abs(clock.offset_ns - before - 5 * 10**9) < 10_000_000
    health = watched(quiet, kernel_clock=lambda: clock)
    assert (health.kernel_delay_p99_s, health.clock_steps) == (50e-6, 1)


def test_a_tail_told_on_the_way_is_that_of_all_so_far() -> None:
    values: array[int] = array("q")
    tail = Tail(lambda: values)
    assert (tail.max_s(), tail.p99_s(exact=False), tail.p99_s(exact=True)) == (0.0, None, None)
    draw = random.Random(7)
    for _ in range(5):
        values.extend(round(draw.lognormvariate(12, 2)) for _ in range(500))
        ordered, rank = sorted(values), int(len(values) * 0.99)
        assert tail.p99_s(exact=True) == ordered[rank] / 1e9
        told = tail.p99_s(exact=False)
        assert told is not None and ordered[rank - 1] * 0.97 <= told * 1e9 <= ordered[rank] * 1.03
        assert tail.max_s() == max(values) / 1e9
