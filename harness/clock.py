"""Clocks: one monotonic nanosecond axis for everything measured, and a virtual one for tests.

`now_ns` is CLOCK_MONOTONIC, which every process of one machine shares, so stamps of several workers
lie on one axis without any exchange.

`VirtualLoop` is an asyncio event loop whose time jumps to the next timer as soon as nothing else is left to
do: a test of an hour of load runs in milliseconds and is exact to the nanosecond.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

from harness.units import NS_PER_S

now_ns: Callable[[], int] = time.monotonic_ns


def wall_offset_ns() -> int:
    """The wall clock (Unix time) less the monotonic clock, from the tightest of five brackets of one by the other."""
    best, offset = None, 0
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


class _JumpingSelector(selectors.DefaultSelector):
    """Polls without waiting; where asyncio would wait for a timer, time jumps there instead."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.virtual_ns += max(1, round(timeout * NS_PER_S))
        elif not ready and timeout is None:
            raise RuntimeError("virtual time stands still: nothing is scheduled and nothing can wake the loop")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time. `now_ns()` is its clock; use it wherever `clock.now_ns` is taken."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.virtual_ns / NS_PER_S

    def now_ns(self) -> int:
        """Virtual nanoseconds since the loop was made."""
        return self._jumping.virtual_ns

    def run(self, main: Any) -> Any:
        """Run a coroutine to its end and close the loop."""
        try:
            return self.run_until_complete(main)
        finally:
            self.close()
