"""The player: walks the sessions of one shard over a wire, on one loop.

Open load: sessions arrive at the plan's absolute instants, however the server fares. Closed load: each slot starts
its next session the moment its last one has ended. Inside a session a request is due when its dependencies have
finished and its gap has passed; what is due late is sent late and its latency runs from when it was due.

Requests are rendered before they are due, answers are read after they have ended: both in slices, as chores of the
loop, while no socket is ready.
"""

from __future__ import annotations

import asyncio
from collections import deque

from harness.backends.protocol import Call, Dialect
from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.health import HealthMonitor
from harness.load.ledger import Ledger
from harness.load.limits import Limiter
from harness.load.reading import Reading
from harness.load.scheduler import Scheduler
from harness.load.walk import Message, Walk
from harness.load.wire import Wire
from harness.plan import Shard
from harness.records.record import Phase
from harness.workloads.text import TextMaker

_SLICE = 48  # answer pieces read in one slice of a chore, about 150 us
_LOOKAHEAD_S = 0.25  # open load: sessions that arrive within this are rendered ahead
_MOST_SPARE = 512  # closed load: sessions rendered ahead, one for each slot, but no more than this
_PREPARE_NS = 150_000_000  # time to render further sessions before the start
_MOST_PREPARED = 4096
_SWEEP_NS = 100_000_000


class _Owner:
    """What an exchange stands for: a node of a walk, and when it was due."""

    __slots__ = ("index", "intended_ns", "over", "reading", "walk")

    def __init__(self, walk: Walk, index: int) -> None:
        self.walk = walk
        self.index = index
        self.intended_ns = 0
        self.over = False  # its end has been counted
        self.reading: Reading | None = None


class _Prepared:
    """A session whose first requests are rendered."""

    __slots__ = ("arrival_ns", "exchanges", "walk")

    def __init__(self, walk: Walk, exchanges: list[Exchange], arrival_ns: int) -> None:
        self.walk = walk
        self.exchanges = exchanges
        self.arrival_ns = arrival_ns


class Player:
    """Plays one shard. `play` returns when every session has ended or the player was stopped."""

    def __init__(
        self,
        shard: Shard,
        *,
        wire: Wire,
        dialect: Dialect,
        maker: TextMaker,
        ledger: Ledger,
        health: HealthMonitor,
        limiter: Limiter,
        scheduler: Scheduler,
    ) -> None:
        self._shard = shard
        self._plan = shard.plan
        self._workload = shard.plan.experiment.workload
        self._timeout_s = shard.plan.experiment.load.timeout
        self._wire = wire
        self._dialect = dialect
        self._maker = maker
        self._ledger = ledger
        self._health = health
        self._limiter = limiter
        self._scheduler = scheduler
        self._t0 = 0
        self._open_loop = shard.plan.arrivals_ns is not None
        self._coming = shard.arrivals() if self._open_loop else iter(())
        self._indices = iter(()) if self._open_loop else shard.indices()
        self._exhausted = False  # no session is left to prepare
        self._prepared: deque[_Prepared] = deque()
        self._slot_timers: list[asyncio.TimerHandle] = []  # slots that have not started yet, or the next arrival
        self._slots_to_start = 0
        self._spare = max(8, min(_MOST_SPARE, len(shard.slots())))
        self._due: dict[Exchange, asyncio.TimerHandle] = {}  # requests whose gap has not passed yet
        self._live: dict[Exchange, None] = {}  # sent, in order of sending
        self._live_sessions = 0
        self._unread = 0  # answers that have ended but are not read yet
        self._stopping = False
        self._full_ns: int | None = None
        self._dry_ns: int | None = None
        self._ended: asyncio.Future[None] | None = None

    # -- the shape of a run

    def prepare(self) -> None:
        """Render the first requests, before the start."""
        enough = now_ns() + _PREPARE_NS
        if self._open_loop:
            self._render_ahead(round(_LOOKAHEAD_S * 1e9), most=1 << 30)
            while now_ns() < enough and self._render_ahead(1 << 62, most=16):
                pass
            return
        for _ in self._shard.slots():
            self._prepare_closed()
        while now_ns() < enough and not self._exhausted and len(self._prepared) < _MOST_PREPARED:
            self._prepare_closed()

    async def play(self, t0_ns: int) -> None:
        """Run the load from `t0_ns` on until the last session has ended and the last answer is read."""
        self._t0 = self._ledger.t0_ns = t0_ns
        self._ended = self._scheduler.future()
        self._scheduler.at(t0_ns, self._begin)
        self._sweep()
        try:
            await self._ended
        finally:
            self._sweeper.cancel()

    def stop(self, *, drain: bool) -> None:
        """Start nothing any more. Without `drain`, what is under way is cut off and recorded as cancelled."""
        self._stopping = self._exhausted = True
        self._prepared.clear()
        self._slots_to_start = 0
        if self._dry_ns is None:
            self._dry_ns = self._scheduler.now() - self._t0
        for timer in self._slot_timers:
            timer.cancel()
        waiting = [*self._due, *self._limiter.clear()]
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()
        for exchange in waiting:
            self._drop(exchange)
        if not drain:
            for exchange in list(self._live):
                self._wire.abort(exchange, "interrupted", "stopped before the answer had ended")
        self._maybe_end()

    @property
    def marks(self) -> tuple[int | None, int | None]:
        """When the load was full, and when its first slot ran dry or its arrivals ended, on the run's axis."""
        return self._full_ns, self._dry_ns

    def count_live(self) -> None:
        """Bring the tally's momentary figures up to date."""
        tally = self._ledger.tally
        tally.t_ns = self._scheduler.now() - self._t0
        tally.phase = self._phase(tally.t_ns)
        tally.live_sessions = self._live_sessions
        tally.live_requests = len(self._live)

    def _phase(self, t_ns: int) -> Phase:
        """Provisional: the summary decides, when it knows all workers."""
        if self._dry_ns is not None:
            return "drain"
        warm = self._full_ns is not None and t_ns >= self._full_ns + self._plan.warmup_ns
        return "measure" if warm else "warmup"

    def _begin(self) -> None:
        if self._open_loop:
            self._full_ns = self._plan.ramp_ns
            self._next_arrival()
            return
        starts = self._shard.slots()
        self._slots_to_start = len(starts)
        if not starts:
            self._full_ns = 0
        self._slot_timers = [self._scheduler.at(self._t0 + start, self._start_slot) for start in starts]
        self._maybe_end()

    # -- closed load: a slot's next session starts when its last one has ended

    def _start_slot(self) -> None:
        self._slots_to_start -= 1
        if not self._slots_to_start:
            self._full_ns = self._scheduler.now() - self._t0
        self._next_session(self._scheduler.now())

    def _next_session(self, arrival_ns: int) -> None:
        limit = self._plan.start_limit_ns
        if limit is not None and arrival_ns - self._t0 >= limit:
            self._exhausted = True
            self._prepared.clear()
        if not self._prepared:
            self._prepare_closed()
        if not self._prepared:
            if self._dry_ns is None:
                self._dry_ns = max(0, arrival_ns - self._t0)
            self._maybe_end()
            return
        self._start(self._prepared.popleft(), arrival_ns)
        if not self._exhausted and len(self._prepared) < self._spare:
            self._scheduler.chore(self._prepare_closed)

    def _prepare_closed(self) -> bool:
        """Chore: render one more session ahead of the slot that will ask for it."""
        index = None if self._exhausted else next(self._indices, None)
        if index is None:
            self._exhausted = True
        else:
            self._prepared.append(self._prepare(index, 0))
        return False

    # -- open load: sessions start at the plan's instants

    def _next_arrival(self) -> None:
        """Start what has arrived, then wait for the next arrival."""
        now = self._scheduler.now() - self._t0
        while True:
            while self._prepared and self._prepared[0].arrival_ns <= now:
                prepared = self._prepared.popleft()
                self._start(prepared, self._t0 + prepared.arrival_ns)
            if self._prepared or self._exhausted:
                break
            self._render_ahead(now, most=1)
        if self._prepared:
            at = self._t0 + self._prepared[0].arrival_ns
            self._slot_timers = [self._scheduler.at(at, self._next_arrival)]
            self._scheduler.chore(self._look_ahead)
        else:
            self._dry_ns = now
            self._maybe_end()

    def _look_ahead(self) -> bool:
        """Chore: render one session that arrives soon."""
        return self._render_ahead(self._scheduler.now() - self._t0 + round(_LOOKAHEAD_S * 1e9), most=1)

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
            self._prepared.append(self._prepare(index, offset))
            most -= 1
        return True

    # -- sessions

    def _prepare(self, index: int, arrival_ns: int) -> _Prepared:
        walk = Walk(self._plan.session(index), warmup=index < self._plan.warmup_sessions)
        return _Prepared(walk, [self._render(walk, root) for root in walk.roots()], arrival_ns)

    def _start(self, prepared: _Prepared, arrival_ns: int) -> None:
        walk = prepared.walk
        walk.arrival_ns = arrival_ns
        self._live_sessions += 1
        self._ledger.tally.sessions_started += 1
        walk.outstanding = len(prepared.exchanges)
        for exchange in prepared.exchanges:
            self._send(exchange, arrival_ns)

    def _node_over(self, walk: Walk, end_ns: int) -> None:
        """A request has ended. If it was the session's last, its slot is free."""
        walk.outstanding -= 1
        if walk.outstanding:
            return
        self._live_sessions -= 1
        self._settle(walk)
        if not self._open_loop and not self._stopping:
            self._next_session(end_ns)

    def _settle(self, walk: Walk) -> None:
        """Count a session once it has ended and all its answers are read."""
        if walk.outstanding or walk.unread:
            return
        if walk.failed:
            self._ledger.tally.sessions_failed += 1
        elif walk.complete:
            self._ledger.tally.sessions_done += 1

    # -- requests

    def _render(self, walk: Walk, index: int) -> Exchange:
        node = walk.session.nodes[index]
        request_id = self._ledger.request_id(walk, index)
        call = Call(
            id=request_id,
            messages=walk.messages(index, self._maker),
            output_tokens=node.output_tokens,
            exact_output=self._workload.exact_output,
            model=node.model,
        )
        exchange = Exchange(request_id, self._dialect.path, self._dialect.encode(call), self._done)
        exchange.owner = _Owner(walk, index)
        exchange.progress = self._piled
        if walk.under_way is not None:
            walk.under_way[index] = exchange
        self._wire.render(exchange)
        return exchange

    def _send(self, exchange: Exchange, intended_ns: int) -> None:
        self._due.pop(exchange, None)
        exchange.owner.intended_ns = intended_ns
        self._limiter.admit(exchange, self._send_now)

    def _send_now(self, exchange: Exchange) -> None:
        if self._stopping:
            self._drop(exchange)
            return
        if exchange.owner.index in exchange.owner.walk.cancelled:
            self._limiter.left(exchange)
            self._drop(exchange)
            return
        self._live[exchange] = None
        self._ledger.tally.requests_sent += 1
        exchange.deadline_ns = self._scheduler.now() + round(self._timeout_s * 1e9)
        self._wire.send(exchange)
        if exchange not in self._limiter.waited:
            self._health.sent(exchange.sent_ns - exchange.owner.intended_ns)

    def _drop(self, exchange: Exchange) -> None:
        """A request that was due, but is not sent any more."""
        self._node_over(exchange.owner.walk, self._scheduler.now())

    def _cancel(self, walk: Walk, lost: list[int]) -> None:
        """End the requests that nobody needs any more: those sent are cut off, the others never sent."""
        for index in lost:
            exchange = walk.under_way.pop(index, None) if walk.under_way else None
            if exchange is not None and exchange.sent_ns:
                if not exchange.ended:
                    self._wire.abort(exchange, "cancelled", "enough others had answered")
                continue
            walk.open_nodes -= 1
            walk.unsent += 1
            if exchange is not None and (timer := self._due.pop(exchange, None)) is not None:
                timer.cancel()
                self._drop(exchange)

    def _piled(self, exchange: Exchange) -> None:
        """Many reads of a live answer wait: read them in slices, so that memory stays flat."""
        reading = exchange.owner.reading
        if reading is None:
            reading = exchange.owner.reading = Reading(exchange, self._dialect)
        self._scheduler.chore(lambda: not exchange.ended and reading.advance(_SLICE))

    def _done(self, exchange: Exchange) -> None:
        """The wire has brought the answer, or failed. Called once an exchange, from inside the selector."""
        self._live.pop(exchange, None)
        self._limiter.left(exchange)
        owner = exchange.owner
        walk = owner.walk
        if owner.reading is None:
            owner.reading = Reading(exchange, self._dialect)
        walk.unread += 1
        self._unread += 1
        self._scheduler.chore(lambda: self._read(exchange))
        if exchange.error is not None or not walk.has_dependents(owner.index):
            owner.over = True  # nothing waits for what it says: the slot need not wait for the reading
            self._node_over(walk, exchange.end_ns)

    def _read(self, exchange: Exchange) -> bool:
        """Chore: read an ended answer slice by slice, then write its record and let the session go on."""
        owner = exchange.owner
        reading, walk, node = owner.reading, owner.walk, owner.walk.session.nodes[owner.index]
        if reading.advance(_SLICE):
            return True
        reply = reading.finish()
        told = reply.usage.output
        if self._workload.exact_output and told is not None and told < node.output_tokens:
            exchange.fail("short_answer", f"{told} tokens where exactly {node.output_tokens} were asked for")
        phase: Phase = "warmup" if walk.warmup else self._phase(exchange.end_ns - self._t0)
        self._ledger.enter(exchange, reading, walk, owner.index, owner.intended_ns, phase)
        walk.failed = walk.failed or exchange.error not in (None, "cancelled")
        walk.unread -= 1
        self._unread -= 1
        if walk.under_way is not None:
            walk.under_way.pop(owner.index, None)
        if not self._stopping or exchange.error is None:
            walk.open_nodes -= 1
        if not owner.over:
            self._go_on(exchange, owner, reply.text or reply.reasoning)
        else:
            self._settle(walk)
        exchange.owner = None  # no cycles: the collector is off
        self._maybe_end()
        return False

    def _go_on(self, exchange: Exchange, owner: _Owner, text: str) -> None:
        """Let the requests that waited for this answer become due."""
        walk = owner.walk
        if exchange.error is None and not self._stopping:
            answer: Message = {"role": "assistant", "content": text}
            if self._workload.context == "planned":
                answer = walk.filler(owner.index, self._maker)
            for index, due_ns in walk.finished(owner.index, exchange.end_ns, answer):
                walk.outstanding += 1
                self._cancel(walk, walk.cancel_losers(index))
                following = self._render(walk, index)
                if due_ns <= self._scheduler.now():
                    self._send(following, due_ns)
                else:
                    self._due[following] = self._scheduler.at(due_ns, self._send, following, due_ns)
        self._node_over(walk, exchange.end_ns)

    def _sweep(self) -> None:
        """Time out what has waited too long. All requests have the same patience, so the oldest come first."""
        now = self._scheduler.now()
        for exchange in list(self._live):
            if exchange.deadline_ns > now:
                break
            self._wire.abort(exchange, "timeout", f"no complete answer within {self._timeout_s:g} s")
        self._sweeper = self._scheduler.at(now + _SWEEP_NS, self._sweep)

    def _maybe_end(self) -> None:
        more = not self._exhausted or self._prepared or self._slots_to_start
        if not (more or self._live_sessions or self._unread):
            self._scheduler.settle(self._ended)
