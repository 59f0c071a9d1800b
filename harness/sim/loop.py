"""An asyncio loop whose timers keep their time to some ten microseconds.

epoll_wait takes whole milliseconds, and asyncio and libuv round up to them. A `select` on the epoll
descriptor itself takes microseconds, and the kernel's timer slack (50 us by default on Linux) is turned down
for this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import sys

PR_SET_TIMERSLACK = 29

if hasattr(selectors, "EpollSelector"):

    class _PreciseSelector(selectors.EpollSelector):
        """Waits by `select` on the epoll descriptor, then collects the events without waiting."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)

    def _selector() -> selectors.BaseSelector:
        return _PreciseSelector()

else:  # kqueue takes nanoseconds by itself

    def _selector() -> selectors.BaseSelector:
        return selectors.DefaultSelector()


def precise_loop() -> asyncio.AbstractEventLoop:
    """A new event loop with precise timers. Turns the timer slack of the calling thread down where it can."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    return asyncio.SelectorEventLoop(_selector())
