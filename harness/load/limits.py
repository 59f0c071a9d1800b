"""Polite caps toward hosted endpoints: requests a minute (asyncio-throttle) and requests in flight.

Not an arrival process: the throttle releases in bursts. What waits here is counted, and its wait is part of every
latency that runs from the intended start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from harness.clock import now_ns
from harness.config import Limits
from harness.load.exchange import Exchange
from harness.load.loop import WireLoop

_WAIT_NS = 1_000_000

Send = Callable[[Exchange], None]


class Limiter:
    """Lets requests through at once, or when the caps of this worker's share allow it."""

    def __init__(self, limits: Limits, shards: int) -> None:
        self._most = None if limits.max_in_flight is None else max(1, limits.max_in_flight // shards)
        self._in_flight = 0
        self._queue: deque[tuple[Exchange, Send]] = deque()
        self._tasks: dict[asyncio.Task[None], Exchange] = {}
        self._throttler = None
        self.waits = 0
        self.waited: set[Exchange] = set()
        if limits.requests_per_minute is not None:
            from asyncio_throttle.throttler import Throttler

            share = limits.requests_per_minute / shards
            whole = max(1, round(share))
            self._throttler = Throttler(rate_limit=whole, period=60.0 * whole / share, retry_interval=0.005)

    def admit(self, exchange: Exchange, send: Send) -> None:
        """Call `send(exchange)` now or later, in order."""
        if self._most is None and self._throttler is None:
            send(exchange)
            return
        self._queue.append((exchange, send))
        self._release()

    def left(self, exchange: Exchange) -> None:
        """An answer has ended: its place is free."""
        self.waited.discard(exchange)
        if self._most is None:
            return
        self._in_flight -= 1
        if self._queue:
            asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        while self._queue and (self._most is None or self._in_flight < self._most):
            exchange, send = self._queue.popleft()
            self._in_flight += 1
            if self._throttler is None:
                send(exchange)
                continue
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._throttled(exchange, send))
            if isinstance(loop, WireLoop):
                loop.wake()
            self._tasks[task] = exchange
            task.add_done_callback(lambda done: self._tasks.pop(done, None))
        for exchange, _ in self._queue:
            self._wait(exchange)

    def _wait(self, exchange: Exchange) -> None:
        if exchange not in self.waited:
            self.waited.add(exchange)
            self.waits += 1

    async def _throttled(self, exchange: Exchange, send: Send) -> None:
        assert self._throttler is not None
        asked = now_ns()
        async with self._throttler:
            if now_ns() - asked > _WAIT_NS:
                self._wait(exchange)
            send(exchange)

    def clear(self) -> list[Exchange]:
        """Let nothing more through. What was waiting."""
        waiting = [*self._tasks.values(), *(exchange for exchange, _ in self._queue)]
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._queue.clear()
        return waiting
