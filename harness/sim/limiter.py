"""A rate limit of the simulated server."""

from __future__ import annotations

from harness.clock import now_ns
from harness.units import NS_PER_S


class Limiter:
    """A token bucket: `rate` requests a second, bursts of up to one second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._room = max(1.0, rate)
        self._level = self._room
        self._last_ns = now_ns()

    def wait(self) -> float:
        """Take one request: 0 where it may pass, else the seconds after which one may."""
        now = now_ns()
        self._level = min(self._room, self._level + (now - self._last_ns) / NS_PER_S * self._rate)
        self._last_ns = now
        if self._level < 1:
            return (1 - self._level) / self._rate
        self._level -= 1
        return 0.0
