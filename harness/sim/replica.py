"""The engine model in real time: one replica, driven by an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence

from harness.clock import now_ns
from harness.sim.engine import Engine, Step
from harness.sim.job import Job
from harness.sim.source import Receiver, Ticket
from harness.units import NS_PER_S

_TURN = 128  # events before the loop looks at its sockets again
_CATCH_UP_NS = 10_000_000


class Replica:
    """A source whose tokens come from the step simulator.

    A step begins when the one before it was due to end, not when this process got round to it, so that a late
    wake-up does not slow the simulated engine down. A process that falls further behind gives up the
    difference.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop = loop
        self._engine = engine
        self._active = False
        self._step: Step | None = None

    def submit(
        self,
        receiver: Receiver,
        prompt: Sequence[Hashable],
        target: int,
        spell: Callable[[int], Hashable],
        arrival_ns: int,
    ) -> Ticket:
        job = Job(prompt, target, spell=spell, owner=receiver, arrival_ns=arrival_ns)
        self._engine.submit(job)
        if not self._active:
            self._active = True
            self._loop.call_soon(self._wake)
        return job

    def cancel(self, ticket: Ticket) -> None:
        assert isinstance(ticket, Job)
        self._engine.cancel(ticket)

    def gauges(self) -> tuple[int, int, float]:
        return len(self._engine.running), len(self._engine.waiting), self._engine.pool.usage

    def counters(self) -> tuple[int, int, int]:
        counters = self._engine.counters
        return counters.prefix_queries, counters.prefix_hits, counters.preemptions

    def forget_prefixes(self) -> bool:
        return self._engine.pool.forget()

    def _wake(self) -> None:
        self._run(now_ns())

    def _end(self, step: Step) -> None:
        self._deliver(step)
        self._run(self._next_start(step))

    def _run(self, start_ns: int) -> None:
        """Do steps until one lies in the future, nothing is left, or a turn's worth has been sent."""
        sent = 0
        while sent < _TURN:
            step = self._engine.begin(start_ns)
            if step is None:
                self._active = False
                return
            if step.end_ns > now_ns():
                self._loop.call_at(step.end_ns / NS_PER_S, self._end, step)
                return
            sent += self._deliver(step)
            start_ns = self._next_start(step)
        self._loop.call_soon(self._run, start_ns)

    def _deliver(self, step: Step) -> int:
        outputs = self._engine.finish()
        for job, count in outputs:
            job.owner.tokens(count, step.end_ns)
        return max(1, len(outputs))

    def _next_start(self, step: Step) -> int:
        behind = min(step.end_ns - step.start_ns, _CATCH_UP_NS)
        return max(step.end_ns, now_ns() - behind)
