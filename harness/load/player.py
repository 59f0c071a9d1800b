"""The player: walks the sessions of one shard over a wire, on one loop.

Open load: sessions arrive at the plan's absolute instants, however the server fares. Closed load: each slot starts
its next session the moment its last one has ended. Inside a session a request is due when its dependencies have
finished and its gap has passed; what is due late is sent late and its latency runs from when it was due.

Requests are rendered before they are due, answers are read after they have ended: both in slices, as chores of the
loop, while no socket is ready.
"""

from __future__ import annotations

import asyncio

from harness.backends.protocol import Call, Dialect
from harness.load.exchange import Exchange
from harness.load.feed import Calls, ClosedFeed, Feed, OpenFeed, Prepared
from harness.load.health import HealthMonitor
from harness.load.ledger import Ledger
from harness.load.limits import Limiter
from harness.load.owner import Owner
from harness.load.patience import Patience
from harness.load.reading import Reading
from harness.load.retry import Retry, count_from_the_first
from harness.load.scheduler import Scheduler
from harness.load.walk import Message, Walk
from harness.load.wire import Wire
from harness.plan import Shard
from harness.records.record import Phase
from harness.workloads.text import TextMaker

_SLICE = 96  # answer pieces read in one slice of a chore, about 150 us
_ENOUGH = "enough others had answered"


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
        self._plan = shard.plan
        self._workload = shard.plan.experiment.workload
        self._wire = wire
        self._dialect = dialect
        self._maker = maker
        self._ledger = ledger
        self._health = health
        self._limiter = limiter
        self._scheduler = scheduler
        self._t0 = 0
        kind = ClosedFeed if shard.plan.arrivals_ns is None else OpenFeed
        self._feed: Feed = kind(shard, scheduler, Calls(self._prepare, self._start, self._maybe_end))
        self._due: dict[Exchange, asyncio.TimerHandle] = {}  # requests whose gap has not passed yet
        self._live: dict[Exchange, None] = {}  # sent, in order of sending
        self._patience = Patience(self._live, wire, scheduler, shard.plan.experiment.load.timeout)
        retries = shard.plan.experiment.limits.retry
        self._retry = Retry(retries, self._patience.ns, scheduler, self._due, self._send) if retries else None
        self._live_sessions = 0
        self._unread = 0  # answers that have ended but are not read yet
        self._stopping = False
        self._ended: asyncio.Future[None] | None = None

    def prepare(self) -> None:
        """Render the first requests, before the start."""
        self._feed.prepare()

    async def play(self, t0_ns: int) -> None:
        """Run the load from `t0_ns` on until the last session has ended and the last answer is read."""
        self._t0 = self._feed.t0_ns = self._ledger.t0_ns = t0_ns
        self._ended = self._scheduler.future()
        self._scheduler.at(t0_ns, self._feed.begin)
        self._patience.start()
        try:
            await self._ended
        finally:
            self._patience.stop()

    def stop(self, *, drain: bool) -> None:
        """Start nothing any more. Without `drain`, what is under way is cut off and recorded as cancelled."""
        self._stopping = True
        self._feed.stop()
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
        return self._feed.full_ns, self._feed.dry_ns

    def count_live(self) -> None:
        """Bring the tally's momentary figures up to date."""
        tally = self._ledger.tally
        tally.t_ns = self._scheduler.now() - self._t0
        tally.phase = self._feed.phase(tally.t_ns)
        tally.live_sessions = self._live_sessions
        tally.live_requests = len(self._live)

    # -- sessions

    def _prepare(self, index: int, arrival_ns: int) -> Prepared:
        walk = Walk(self._plan.session(index), warmup=index < self._plan.warmup_sessions)
        return Prepared(walk, [self._render(walk, root) for root in walk.roots()], arrival_ns)

    def _start(self, prepared: Prepared, arrival_ns: int, able_ns: int) -> None:
        """A session arrives; from `able_ns` on it can be sent, and what comes after that is our own lateness."""
        walk = prepared.walk
        walk.arrival_ns = arrival_ns
        self._live_sessions += 1
        self._ledger.tally.sessions_started += 1
        walk.outstanding = len(prepared.exchanges)
        for exchange in prepared.exchanges:
            exchange.owner.able_ns = able_ns
            self._send(exchange, arrival_ns)

    def _node_over(self, walk: Walk, end_ns: int) -> None:
        """A request has ended. If it was the session's last, its slot is free."""
        walk.outstanding -= 1
        if walk.outstanding:
            return
        self._live_sessions -= 1
        self._settle(walk)
        self._feed.session_over(end_ns)

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
        exchange.owner = Owner(walk, index)
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
            self._drop(exchange, cancelled=True)
            return
        self._live[exchange] = None
        exchange.deadline_ns = self._scheduler.now() + self._patience.ns
        self._wire.send(exchange)
        if exchange.owner.before is not None:
            exchange.owner.attempt += 1
            return
        self._ledger.tally.requests_sent += 1
        if exchange not in self._limiter.waited:
            self._health.sent(exchange.sent_ns - max(exchange.owner.intended_ns, exchange.owner.able_ns))

    def _drop(self, exchange: Exchange, *, cancelled: bool = False) -> None:
        """A request that was due, but is not sent any more. If it was sent before, the answer to that stands."""
        before = exchange.owner.before
        if before is None:
            self._node_over(exchange.owner.walk, self._scheduler.now())
            return
        if cancelled:
            before.fail("cancelled", _ENOUGH)
        self._conclude(before)

    def _cancel(self, walk: Walk, lost: list[int]) -> None:
        """End the requests that nobody needs any more: those sent are cut off, the others never sent."""
        for index in lost:
            exchange = walk.under_way.pop(index, None) if walk.under_way else None
            if exchange is not None and exchange.sent_ns:
                if not exchange.ended:
                    self._wire.abort(exchange, "cancelled", _ENOUGH)
                continue
            if exchange is not None and exchange.owner.before is not None:
                if (timer := self._due.pop(exchange, None)) is not None:
                    timer.cancel()
                    self._drop(exchange, cancelled=True)
                continue
            walk.open_nodes -= 1
            walk.unsent += 1
            if exchange is not None and (timer := self._due.pop(exchange, None)) is not None:
                timer.cancel()
                self._drop(exchange)

    def _fail(self, walk: Walk, index: int) -> None:
        """A request has failed: what can no longer lead to an end of its session is not started any more."""
        walk.failed = True
        lost = walk.lose(index)
        mine = [due for due in self._due if due.owner.walk is walk and due.owner.index in lost] if lost else ()
        for exchange in mine:
            self._due.pop(exchange).cancel()
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
        if exchange.owner.before is not None:
            count_from_the_first(exchange)
        if self._retry is None or self._stopping or not self._retry.again(exchange):
            self._conclude(exchange)

    def _conclude(self, exchange: Exchange) -> None:
        """This is how the request has ended: read it, and let those go on that need not wait for that."""
        owner = exchange.owner
        walk = owner.walk
        if exchange.error not in (None, "cancelled"):
            self._fail(walk, owner.index)
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
        phase: Phase = "warmup" if walk.warmup else self._feed.phase(exchange.end_ns - self._t0)
        self._ledger.enter(exchange, reading, walk, owner.index, owner.intended_ns, phase, owner.attempt)
        if exchange.error not in (None, "cancelled"):
            self._fail(walk, owner.index)
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

    def _go_on(self, exchange: Exchange, owner: Owner, text: str) -> None:
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

    def _maybe_end(self) -> None:
        if not (self._feed.more or self._live_sessions or self._unread):
            self._scheduler.settle(self._ended)
