"""The tail of a growing list of times, told again and again while a run goes, and exactly at its end.

Sorting all of them a few times a second would cost the worker more with every second it runs, and hold up its loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from harness.records.snapshot import LogHistogram

_Q = 0.99


class Tail:
    """The maximum and the 99th percentile of nanoseconds that `values` gives; they only ever become more."""

    def __init__(self, values: Callable[[], array[int]]) -> None:
        self._values = values
        self._seen = 0
        self._most = 0
        self._histogram = LogHistogram()

    def max_s(self) -> float:
        """The largest so far, in seconds; 0 of nothing."""
        self._read()
        return self._most / 1e9

    def p99_s(self, *, exact: bool) -> float | None:
        """In seconds, by nearest rank; None of nothing. Where not exact, off by at most half a bin (3 %) and a rank."""
        if not exact:
            self._read()
            return self._histogram.quantile(_Q)
        ordered = sorted(self._values())
        return ordered[min(len(ordered) - 1, int(len(ordered) * _Q))] / 1e9 if ordered else None

    def _read(self) -> None:
        """What has come since the last time."""
        fresh = self._values()[self._seen :]
        self._seen += len(fresh)
        self._most = max(self._most, *fresh, 0)
        for value in fresh:
            self._histogram.add(value / 1e9)
