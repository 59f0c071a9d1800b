"""Fixed pace: token k of every request is due `ttft + k * itl` after the request was read, whatever else goes
on.

Deadlines are absolute, so lateness of one event never moves the next. With several tokens an event, an event
is due with its last token; the first event holds one token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from heapq import heappop, heappush, heapreplace

from harness.clock import now_ns
from harness.sim.source import Receiver, Ticket
from harness.units import NS_PER_S

_TURN = 128  # events before the loop looks at its sockets again
_QUIET_NS = 1_000_000  # after this long without an event ...
_EARLY_NS = 150_000  # ... waking up is slow: wake up this much early and wait the rest out


class _Course:
    """A request under way."""

    __slots__ = (
        "cached_tokens",
        "first_token_ns",
        "live",
        "preemptions",
        "produced",
        "receiver",
        "scheduled_ns",
        "start_ns",
        "target",
    )

    def __init__(self, receiver: Receiver, target: int, start_ns: int, arrival_ns: int) -> None:
        self.receiver = receiver
        self.target = target
        self.start_ns = start_ns  # when token 0 is due
        self.produced = 0
        self.live = True
        self.cached_tokens = 0
        self.preemptions = 0
        self.scheduled_ns: int | None = arrival_ns
        self.first_token_ns: int | None = None


class Pace:
    """A source that gives every request exactly the same schedule. Times in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ttft: float, itl: float, *, per_event: int = 1) -> None:
        self._loop = loop
        self._ttft_ns = round(ttft * NS_PER_S)
        self._itl_ns = round(itl * NS_PER_S)
        self._per_event = per_event
        self._due: list[tuple[int, int, _Course]] = []
        self._serial = 0
        self._live = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._last_ns = 0

    def submit(
        self,
        receiver: Receiver,
        prompt: Sequence[Hashable],
        target: int,
        spell: Callable[[int], Hashable],
        arrival_ns: int,
    ) -> Ticket:
        course = _Course(receiver, target, arrival_ns + self._ttft_ns, arrival_ns)
        self._serial += 1
        self._live += 1
        heappush(self._due, (course.start_ns, self._serial, course))
        if self._timer is None or course.start_ns < self._timer_ns:
            self._arm()
        return course

    def cancel(self, ticket: Ticket) -> None:
        assert isinstance(ticket, _Course)
        if ticket.live:
            ticket.live = False
            self._live -= 1

    def gauges(self) -> tuple[int, int, float]:
        return self._live, 0, 0.0

    def counters(self) -> tuple[int, int, int]:
        return 0, 0, 0

    def forget_prefixes(self) -> bool:
        return True

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer_ns = self._due[0][0]
            early = _EARLY_NS if self._timer_ns - self._last_ns > _QUIET_NS else 0
            self._timer = self._loop.call_at((self._timer_ns - early) / NS_PER_S, self._run)

    def _run(self) -> None:
        """Send what is due, at most one turn's worth."""
        due = self._due
        if due and due[0][0] - now_ns() < _EARLY_NS and due[0][0] - self._last_ns > _QUIET_NS:
            while due[0][0] > now_ns():
                pass
        for _ in range(_TURN):
            if not due or due[0][0] > now_ns():
                break
            due_ns, serial, course = due[0]
            if not course.live:
                heappop(due)
                continue
            count = min(self._per_event, course.target - course.produced) if course.produced else 1
            course.first_token_ns = course.first_token_ns or due_ns
            course.produced += count
            left = course.target - course.produced
            if left:
                last = course.produced + min(self._per_event, left) - 1
                heapreplace(due, (course.start_ns + last * self._itl_ns, serial, course))
            else:
                heappop(due)
                course.live = False
                self._live -= 1
            self._last_ns = due_ns
            course.receiver.tokens(count, due_ns)
        self._arm()
