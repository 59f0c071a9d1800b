"""Absolute deadlines and idle work on any asyncio loop: the player's only view of time.

On a `WireLoop` chores run while no socket is ready; on other loops (virtual time in tests) one slice a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from harness.clock import now_ns
from harness.load.loop import Chore, WireLoop


class Scheduler:
    """Calls at instants of `now()`, in nanoseconds."""

    def __init__(self, now: Callable[[], int] = now_ns) -> None:
        self._loop = asyncio.get_running_loop()
        self._wire_loop = self._loop if isinstance(self._loop, WireLoop) else None
        self.now = now

    def at(self, when_ns: int, call: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        """Call at this instant, or as soon as possible where it has passed."""
        handle = self._loop.call_at(when_ns / 1e9, call, *arguments)
        if self._wire_loop is not None:
            self._wire_loop.wake()
        return handle

    def chore(self, chore: Chore) -> None:
        """Do this in slices, when there is time."""
        if self._wire_loop is not None:
            self._wire_loop.add_chore(chore)
        else:
            self._loop.call_soon(self._turn, chore)

    def _turn(self, chore: Chore) -> None:
        if chore():
            self._loop.call_soon(self._turn, chore)

    def future(self) -> asyncio.Future[None]:
        return self._loop.create_future()

    def settle(self, future: asyncio.Future[None] | None) -> None:
        """Complete a future, once."""
        if future is not None and not future.done():
            future.set_result(None)
            if self._wire_loop is not None:
                self._wire_loop.wake()
