"""The feeds: which session starts when. Sessions are rendered before they start, as chores of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.scheduler import Scheduler
from harness.load.walk import Walk
from harness.plan import Shard
from harness.records.record import Phase

_LOOKAHEAD_NS = 250_000_000  # open load: sessions that arrive within this are rendered ahead
_MOST_SPARE = 512  # closed load: sessions rendered ahead, one for each slot, but no more than this
_PREPARE_NS = 150_000_000  # time to render further sessions before the start
_MOST_PREPARED = 4096


class Prepared:
    """A session whose first requests are rendered."""

    __slots__ = ("arrival_ns", "exchanges", "walk")

    def __init__(self, walk: Walk, exchanges: list[Exchange], arrival_ns: int) -> None:
        self.walk = walk
        self.exchanges = exchanges
        self.arrival_ns = arrival_ns


class Calls(NamedTuple):
    """What a feed calls: `render` makes the session of an index that arrives at an offset, `start` starts it:
    it arrives at one instant and can be sent from another on; `idle` is told when no further session will come."""

    render: Callable[[int, int], Prepared]
    start: Callable[[Prepared, int, int], None]
    idle: Callable[[], None]


class Feed:
    """What both kinds of load have in common.

    Attributes:
        t0_ns: the start of load on the monotonic clock; set before `begin`.
        full_ns, dry_ns: when the load was full, by the plan, and when its first slot ran dry or its arrivals ended.
    """

    def __init__(self, shard: Shard, scheduler: Scheduler, calls: Calls) -> None:
        self._shard = shard
        self._scheduler = scheduler
        self._render, self._start, self._idle = calls
        self.t0_ns = 0
        self._prepared: deque[Prepared] = deque()
        self._exhausted = False  # no session is left to prepare
        self._stopped = False
        self._timers: list[asyncio.TimerHandle] = []  # slots that have not started yet, or the next arrival
        self.full_ns: int | None = None
        self.dry_ns: int | None = None

    def prepare(self) -> None:
        """Render the first requests, before the start."""
        raise NotImplementedError

    def begin(self) -> None:
        """The start of load."""
        raise NotImplementedError

    def session_over(self, end_ns: int) -> None:
        """A session has ended."""

    @property
    def more(self) -> bool:
        """Whether further sessions will start."""
        return bool(not self._exhausted or self._prepared)

    def phase(self, t_ns: int) -> Phase:
        """Provisional: the summary decides, when it knows all workers."""
        if self.dry_ns is not None:
            return "drain"
        warm = self.full_ns is not None and t_ns >= max(self.full_ns, self._shard.plan.warm_ns)
        return "measure" if warm else "warmup"

    def stop(self) -> None:
        """Start nothing any more."""
        self._stopped = self._exhausted = True
        self._prepared.clear()
        self._run_dry(self._scheduler.now())
        for timer in self._timers:
            timer.cancel()

    def _run_dry(self, at_ns: int) -> None:
        if self.dry_ns is None:
            self.dry_ns = max(0, at_ns - self.t0_ns)


class ClosedFeed(Feed):
    """Closed load: a slot's next session starts the moment its last one has ended.

    A slot's first session arrives at the slot's planned instant, however late it is sent: many slots that start at
    one instant are sent one after the other, and that wait is the user's too. It is no lateness of ours against the
    plan, so a slot can send from the moment it could start.
    """

    def __init__(self, shard: Shard, scheduler: Scheduler, calls: Calls) -> None:
        super().__init__(shard, scheduler, calls)
        self._indices: Iterator[int] = shard.indices()
        self._counted_left = shard.counted
        self._slots_to_start = 0
        self._spare = max(8, min(_MOST_SPARE, len(shard.slots())))

    def prepare(self) -> None:
        enough = now_ns() + _PREPARE_NS
        for _ in self._shard.slots():
            self._prepare_one()
        while now_ns() < enough and not self._exhausted and len(self._prepared) < _MOST_PREPARED:
            self._prepare_one()

    def begin(self) -> None:
        starts = self._shard.slots()
        self._slots_to_start = len(starts)
        if not starts:
            self.full_ns = self._shard.plan.full_ns
        self._timers = [self._scheduler.at(self.t0_ns + start, self._start_slot, start) for start in starts]
        self._idle()

    @property
    def more(self) -> bool:
        return super().more or self._slots_to_start > 0

    def stop(self) -> None:
        self._slots_to_start = 0
        super().stop()

    def session_over(self, end_ns: int) -> None:
        if not self._stopped:
            self._next(end_ns, end_ns)

    def _start_slot(self, offset_ns: int) -> None:
        self._slots_to_start -= 1
        if not self._slots_to_start:
            self.full_ns = self._shard.plan.full_ns
        self._next(self.t0_ns + offset_ns, self._scheduler.now())

    def _next(self, arrival_ns: int, able_ns: int) -> None:
        """The next session of a slot: it arrives, and from `able_ns` on it can be sent."""
        offset_ns = arrival_ns - self.t0_ns
        counted = self._counted_left is not None and offset_ns >= self._shard.plan.warm_ns
        if self._over(offset_ns) or (counted and not self._counted_left):
            self._exhausted = True
            self._prepared.clear()
        if not self._prepared:
            self._prepare_one()
        if not self._prepared:
            self._run_dry(arrival_ns)
            self._idle()
            return
        if counted and self._counted_left:
            self._counted_left -= 1
        self._start(self._prepared.popleft(), arrival_ns, able_ns)
        if not self._exhausted and len(self._prepared) < self._spare:
            self._scheduler.chore(self._prepare_one)

    def _over(self, offset_ns: int) -> bool:
        limit = self._shard.plan.start_limit_ns
        return limit is not None and offset_ns >= limit

    def _prepare_one(self) -> bool:
        """Chore: render one more session ahead of the slot that will ask for it."""
        index = None if self._exhausted else next(self._indices, None)
        if index is None:
            self._exhausted = True
        else:
            self._prepared.append(self._render(index, 0))
        return False


class OpenFeed(Feed):
    """Open load: sessions start at the plan's instants, however the server fares."""

    def __init__(self, shard: Shard, scheduler: Scheduler, calls: Calls) -> None:
        super().__init__(shard, scheduler, calls)
        self._coming = shard.arrivals()

    def prepare(self) -> None:
        enough = now_ns() + _PREPARE_NS
        self._render_ahead(_LOOKAHEAD_NS, most=1 << 30)
        while now_ns() < enough and self._render_ahead(1 << 62, most=16):
            pass

    def begin(self) -> None:
        self.full_ns = self._shard.plan.ramp_ns
        self._next_arrival()

    def _next_arrival(self) -> None:
        """Start what has arrived, then wait for the next arrival."""
        now = self._scheduler.now() - self.t0_ns
        while True:
            while self._prepared and self._prepared[0].arrival_ns <= now:
                prepared = self._prepared.popleft()
                at = self.t0_ns + prepared.arrival_ns
                self._start(prepared, at, at)
            if self._prepared or self._exhausted:
                break
            self._render_ahead(now, most=1)
        if self._prepared:
            at = self.t0_ns + self._prepared[0].arrival_ns
            self._timers = [self._scheduler.at(at, self._next_arrival)]
            self._scheduler.chore(self._look_ahead)
        else:
            self._run_dry(self.t0_ns + now)
            self._idle()

    def _look_ahead(self) -> bool:
        """Chore: render one session that arrives soon."""
        return self._render_ahead(self._scheduler.now() - self.t0_ns + _LOOKAHEAD_NS, most=1)

    def _render_ahead(self, until_ns: int, most: int) -> bool:
        """Render up to `most` sessions that arrive before `until_ns`, and the one after; True if more may."""
        while most:
            if self._exhausted or (self._prepared and self._prepared[-1].arrival_ns > until_ns):
                return False
            coming = next(self._coming, None)
            if coming is None:
                self._exhausted = True
                return False
            offset, index = coming
            self._prepared.append(self._render(index, offset))
            most -= 1
        return True
