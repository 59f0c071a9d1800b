"""Polite caps toward hosted endpoints: requests and tokens a minute (asyncio-throttle), and requests in flight.

Not an arrival process: the throttle releases in bursts. What waits here is counted, and its wait is part of every
latency that runs from the intended start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil

from harness.config import Limits
from harness.load.exchange import Exchange
from harness.load.loop import WireLoop

_WAIT_S = 0.001
_UNITS = 1000  # of tokens a minute: it would be slow to count each

Send = Callable[[Exchange], None]


class _Throttle:
    """So much a minute, taken in turn, and counted in units: no less than one is taken."""

    def __init__(self, a_minute: float, unit: float = 1.0) -> None:
        from asyncio_throttle.throttler import Throttler

        self._unit = unit
        share = a_minute / unit
        whole = max(1, round(share))
        self._throttler = Throttler(rate_limit=whole, period=60.0 * whole / share, retry_interval=0.005)
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Wait until this much may pass. More than a minute's worth takes more than a minute."""
        async with self._turn:
            for _ in range(max(1, ceil(amount / self._unit - 1e-9))):
                await self._throttler.acquire()  # type: ignore[no-untyped-call]


class Limiter:
    """Lets requests through at once, or when the caps of this worker's share allow it."""

    def __init__(self, limits: Limits, shards: int) -> None:
        self._most = None if limits.max_in_flight is None else max(1, limits.max_in_flight // shards)
        self._in_flight = 0
        self._queue: deque[tuple[Exchange, Send]] = deque()
        self._tasks: dict[asyncio.Task[None], Exchange] = {}
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        self._requests = None if requests is None else _Throttle(requests / shards)
        self._tokens = None if tokens is None else _Throttle(tokens / shards, max(1.0, tokens / shards / _UNITS))
        self._throttled = requests is not None or tokens is not None
        self.waits = 0
        self.waited: set[Exchange] = set()

    def admit(self, exchange: Exchange, send: Send) -> None:
        """Call `send(exchange)` now or later, in order."""
        if self._most is None and not self._throttled:
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
            if not self._throttled:
                send(exchange)
                continue
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._in_turn(exchange, send))
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

    async def _in_turn(self, exchange: Exchange, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        asked = clock()
        if self._requests is not None:
            await self._requests.take(1)
        if self._tokens is not None:
            await self._tokens.take(exchange.owner.tokens)
        if clock() - asked > _WAIT_S:
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
