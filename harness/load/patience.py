"""Patience: how long a request may take before it is cut off and recorded as timed out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from harness.load.exchange import Exchange
from harness.load.scheduler import Scheduler
from harness.load.wire import Wire

_SWEEP_NS = 100_000_000


class Patience:
    """Looks ten times a second for what has waited too long. `live` holds what was sent, in order of sending: all have
    the same patience, so the oldest come first. `ns` is that patience."""

    def __init__(self, live: Iterable[Exchange], wire: Wire, scheduler: Scheduler, timeout_s: float) -> None:
        self._live = live
        self._wire = wire
        self._scheduler = scheduler
        self._detail = f"no complete answer within {timeout_s:g} s"
        self._timer: asyncio.TimerHandle | None = None
        self.ns = round(timeout_s * 1e9)

    def start(self) -> None:
        """Look now, and again and again."""
        now = self._scheduler.now()
        for exchange in list(self._live):
            if exchange.deadline_ns > now:
                break
            self._wire.abort(exchange, "timeout", self._detail)
        self._timer = self._scheduler.at(now + _SWEEP_NS, self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
