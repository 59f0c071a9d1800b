"""Polite caps toward hosted endpoints: requests a minute (asyncio-throttle), tokens a minute, requests in flight.

Not an arrival process: what has room is let through at once. What waits here is counted, and its wait is part of every
latency that runs from the intended start. The caps are those of the whole run: each worker has an exact share of them,
and all shares together are the cap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.config import Limits
from harness.load.exchange import Exchange
from harness.load.loop import WireLoop
from harness.load.scheduler import Scheduler
from harness.units import NS_PER_S

if TYPE_CHECKING:
    from asyncio_throttle.throttler import Throttler

MINUTE_NS = 60 * NS_PER_S
RETRY_S = 0.005  # between two looks of the throttle whether there is room

Send = Callable[[Exchange], None]


def _throttler(cap: float, shard: int, shards: int) -> Throttler:
    """Of one worker's share of so many requests a minute; less than one is one in as many minutes as that takes."""
    from asyncio_throttle.throttler import Throttler

    most = _share(max(1, int(cap)), shard, shards)
    return Throttler(rate_limit=most, period=60.0 / min(1.0, cap), retry_interval=RETRY_S)


class _Minute:
    """One worker's share of tokens a minute: what has passed takes room until it is a minute ago.

    Less than one a minute is one in as many minutes as that takes.
    """

    def __init__(self, cap: float, shard: int, shards: int) -> None:
        self.most = _share(max(1, int(cap)), shard, shards)
        self.room = self.most
        self._length_ns = round(MINUTE_NS / min(1.0, cap))
        self._passed: deque[tuple[int, int]] = deque()  # when, and how much

    def ready_ns(self, amount: int, now: int) -> int:
        """From when on there is room for so much, `now` or later. It must not be more than `most`."""
        self._forget(now)
        room, ready = self.room, now
        for at_ns, taken in self._passed:
            if room >= amount:
                break
            room += taken
            ready = at_ns + self._length_ns
        return ready

    def save(self, amount: int, now: int) -> int:
        """Take what there is room for of an amount that has none. How much."""
        self._forget(now)
        taken = self.room if amount > self.room else 0
        if taken:
            self.take(taken, now)
        return taken

    def take(self, amount: int, now: int) -> None:
        """Let so much pass."""
        self.room -= amount
        self._passed.append((now, amount))

    def _forget(self, now: int) -> None:
        passed = self._passed
        while passed and passed[0][0] + self._length_ns <= now:
            self.room += passed.popleft()[1]


class Limiter:
    """Lets requests through in order: at once, or as soon as this worker's share of every cap has room for the first.

    A request of more tokens than the share of a minute saves them up over several minutes.
    """

    def __init__(self, limits: Limits, scheduler: Scheduler, shard: int, shards: int) -> None:
        requests, tokens, most = limits.requests_per_minute, limits.tokens_per_minute, limits.max_in_flight
        self._capped = limits.shares is not None
        self._scheduler = scheduler
        self._most = None if most is None else _share(most, shard, shards)
        self._requests = None if requests is None else _throttler(requests, shard, shards)
        self._asking: asyncio.Task[None] | None = None  # the throttle, for the first in the queue
        self._late = False  # it did not answer at once
        self._may_send = False  # it has said yes
        self._tokens = None if tokens is None else _Minute(tokens, shard, shards)
        self._in_flight = 0
        self._saved = 0  # tokens that the first in the queue has taken already
        self._queue: deque[tuple[Exchange, Send]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.waits = 0
        self.waited: set[Exchange] = set()

    def admit(self, exchange: Exchange, send: Send) -> None:
        """Call `send(exchange)` now or later, in order."""
        if not self._capped:
            send(exchange)
            return
        self._queue.append((exchange, send))
        if len(self._queue) == 1:
            self._release()
        if self._queue and self._queue[-1][0] is exchange and (self._asking is None or self._late):
            self._wait(exchange)

    def _wait(self, exchange: Exchange) -> None:
        if exchange not in self.waited:
            self.waited.add(exchange)
            self.waits += 1

    def _is_late(self) -> None:
        """The throttle has not said yes at once."""
        self._late = True
        self._all_wait()

    def _all_wait(self) -> None:
        for exchange, _ in self._queue:
            self._wait(exchange)

    def left(self, exchange: Exchange) -> None:
        """An answer has ended: its place is free."""
        if not self._capped:
            return
        self.waited.discard(exchange)
        self._in_flight -= 1
        if self._most is not None and self._queue:
            self._release_at(self._scheduler.now())

    def clear(self) -> list[Exchange]:
        """Let nothing more through. What was waiting."""
        waiting = [exchange for exchange, _ in self._queue]
        self._queue.clear()
        if self._asking is not None:
            self._asking.cancel()
        return waiting

    def _release(self) -> None:
        while self._queue and (self._most is None or self._in_flight < self._most):
            exchange, send = self._queue[0]
            now = self._scheduler.now()
            ready_ns = self._ready_ns(exchange, now)
            if ready_ns > now:
                self._release_at(ready_ns)
                return
            if self._requests is not None and not self._may_send:
                self._ask(self._requests)
                return
            self._may_send = False
            if self._tokens is not None:
                self._tokens.take(exchange.owner.tokens - self._saved, now)
                self._saved = 0
            self._queue.popleft()
            self._in_flight += 1
            send(exchange)

    def _ask(self, throttler: Throttler) -> None:
        """Last of all, when nothing else stands in the way: so the request leaves in the instant that is counted."""
        if self._asking is None:
            loop = asyncio.get_running_loop()
            self._asking = loop.create_task(self._permitted(throttler))
            if isinstance(loop, WireLoop):
                loop.wake()

    async def _permitted(self, throttler: Throttler) -> None:
        late = self._scheduler.at(self._scheduler.now() + 1, self._is_late)
        try:
            await throttler.acquire()  # type: ignore[no-untyped-call]
        finally:
            late.cancel()
            self._asking, self._late = None, False
        self._may_send = True
        self._release()
        if self._asking is None:  # something else is in the way now
            self._all_wait()

    def _release_at(self, when_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.at(when_ns, self._release)

    def _ready_ns(self, exchange: Exchange, now: int) -> int:
        """From when on the minute has room for the tokens of this request."""
        ready = now
        if (minute := self._tokens) is not None:
            wanted = exchange.owner.tokens
            if wanted > minute.most:
                self._saved += minute.save(wanted - self._saved, now)
            ready = max(ready, minute.ready_ns(min(wanted - self._saved, minute.most), now))
        return ready


def _share(cap: int, shard: int, shards: int) -> int:
    """Of so many, those that fall to one of all shards, dealt out in turn."""
    return len(range(shard, cap, shards))
