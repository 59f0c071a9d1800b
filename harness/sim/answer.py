"""One answer on its way to a client: takes tokens from a source and keeps the accounts.

How it is written is up to `streamed` and `whole`.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable

import msgspec

from harness.clock import now_ns
from harness.sim.faults import Fate, Kind
from harness.sim.frames import Frames
from harness.sim.http import Connection, Exchange
from harness.sim.metrics import Metrics
from harness.sim.script import Script
from harness.sim.source import Source, Ticket
from harness.sim.truth import Truth
from harness.units import NS_PER_S

NEVER = 1 << 62  # more than any token, later than any time


class Setting(msgspec.Struct, frozen=True):
    """What all answers of a server share. A stall lasts `stall_s`; `keep` takes the truth of a request."""

    loop: asyncio.AbstractEventLoop
    source: Source
    metrics: Metrics
    stall_s: float
    role_first: bool
    keep: Callable[[Truth], None] | None


class Answer(Exchange):
    """What streamed and whole answers have in common: the ticket, the accounts, the end."""

    def __init__(
        self,
        *,
        setting: Setting,
        connection: Connection,
        frames: Frames,
        script: Script,
        fate: Fate | None,
        truth: Truth,
    ) -> None:
        self._setting = setting
        self._connection = connection
        self._frames = frames
        self._script = script
        self._fate = fate
        self._strikes = fate.before(script.length) if fate else NEVER
        self._truth = truth
        self._events: array[int] | None = array("q") if setting.keep else None
        self._ticket: Ticket | None = None
        self._produced = 0
        self._first_ns = 0
        self._last_ns = 0
        self._late_ns = -NEVER
        self._waited = 0
        self._bytes_out = 0
        self._held: list[tuple[int, int]] | None = None
        self._ended = False

    def start(self, prompt: list[object]) -> None:
        """Queue the request at the source."""
        truth = self._truth
        truth.queued_ns = now_ns()
        self._ticket = self._setting.source.submit(
            self, prompt, max(1, self._script.length), self._script.piece, truth.full_ns
        )

    def abort(self) -> None:
        self._end("abort")

    def tokens(self, count: int, due_ns: int) -> None:
        raise NotImplementedError

    @property
    def _cached(self) -> int:
        return self._ticket.cached_tokens if self._ticket else 0

    def _take(self, count: int, due_ns: int) -> int:
        """Account for `count` tokens that exist now. Returns the time."""
        now = now_ns()
        metrics = self._setting.metrics
        if self._last_ns:
            metrics.itl.observe((now - self._last_ns) / NS_PER_S)
        else:
            self._first_ns = now
            metrics.ttft.observe((now - self._truth.full_ns) / NS_PER_S)
            metrics.prompt_tokens += self._truth.prompt_tokens or 0
        self._last_ns = now
        metrics.generation_tokens += count
        self._late_ns = max(self._late_ns, now - due_ns)
        return now

    def _stall(self, count: int, due_ns: int) -> None:
        """Hold tokens back; what is due meanwhile comes at once when the stall is over."""
        if self._held is None:
            self._held = []
            self._strikes = -1
            self._truth.fault = Kind.STALL.value
            self._setting.loop.call_later(self._setting.stall_s, self._resume)
        self._held.append((count, due_ns))

    def _resume(self) -> None:
        held, self._held = self._held, None
        self._fate = None
        self._strikes = NEVER
        for count, due_ns in held or ():
            if not self._ended:
                self.tokens(count, due_ns)

    def _end(self, finish: str) -> None:
        """Close the accounts. Safe to call again."""
        if self._ended:
            return
        self._ended = True
        ticket = self._ticket
        if ticket is not None:
            self._setting.source.cancel(ticket)
        self._count(finish)
        if self._setting.keep is None:
            return
        truth = self._truth
        truth.end_ns = now_ns()
        truth.finish = finish
        truth.output_tokens = self._produced
        truth.late_ns = self._late_ns if self._first_ns else None
        truth.waited = self._waited
        truth.bytes_out = self._bytes_out
        truth.event_ns = self._events.tolist() if self._events is not None else []
        if ticket is not None:
            truth.cached_tokens = ticket.cached_tokens if ticket.scheduled_ns is not None else None
            truth.preemptions = ticket.preemptions
            truth.scheduled_ns = ticket.scheduled_ns
            truth.first_token_ns = ticket.first_token_ns
        self._setting.keep(truth)

    def _count(self, finish: str) -> None:
        metrics = self._setting.metrics
        metrics.finished[finish] += 1
        ticket = self._ticket
        if finish in ("abort", "error") or ticket is None or not self._first_ns:
            return
        arrival, first, last = self._truth.full_ns, self._first_ns, self._last_ns
        begun = ticket.scheduled_ns if ticket.scheduled_ns is not None else arrival
        metrics.e2e.observe((last - arrival) / NS_PER_S)
        metrics.queue.observe((begun - arrival) / NS_PER_S)
        metrics.prefill.observe((first - begun) / NS_PER_S)
        metrics.decode.observe((last - first) / NS_PER_S)
        if self._produced > 1:
            metrics.tpot.observe((last - first) / NS_PER_S / (self._produced - 1))
