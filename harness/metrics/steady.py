"""Is the load steady? Where a transient ends (MSER-5), and whether L = lambda W."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.table import Floats

BATCH = 5
LEAST_POINTS = 20


def mser5(series: NDArray[np.float64]) -> int | None:
    """How many leading points to leave out: MSER-5 (White, Cobb & Spratt 2000).

    The series is averaged in batches of five; of all d the one is chosen that minimises the squared standard
    error of what remains, sum (y_i - mean)^2 / (k - d)^2. None where that would leave out more than half: then
    the series has no steady part to speak of. A series under 20 points is left as it is (0).
    """
    if len(series) < LEAST_POINTS:
        return 0
    batches = len(series) // BATCH
    means = series[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    means = means - means.mean()  # keeps the running sums small
    left = np.arange(batches, 0, -1)
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means**2)[::-1])[::-1]
    error = np.maximum(squares - total**2 / left, 0.0) / left**2
    scale = float((means**2).sum())
    error[error < 1e-12 * scale] = 0.0
    best = int(np.argmin(error[: max(1, batches - BATCH + 1)]))  # the last few always look steady
    return best * BATCH if best <= batches / 2 else None


def in_flight(starts: Floats, ends: Floats, edges: Floats) -> Floats:
    """The mean number of intervals [start, end) open in each bin between `edges`."""
    return np.diff(_elapsed(starts, edges) - _elapsed(ends, edges)) / np.diff(edges)


def _elapsed(events: Floats, at: Floats) -> Floats:
    """sum over events of max(0, t - event), for each t in `at`."""
    ordered = np.sort(events)
    before = np.searchsorted(ordered, at)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    return np.asarray(before * at - sums[before], dtype=np.float64)


def means_by_second(times: Floats, values: Floats, start: float, bins: int) -> Floats:
    """The mean of `values` in each second from `start`; an empty second repeats the one before it."""
    where = np.floor(times - start).astype(np.int64)
    known = (where >= 0) & (where < bins) & ~np.isnan(values)
    number = np.bincount(where[known], minlength=bins)[:bins]
    total = np.bincount(where[known], weights=values[known], minlength=bins)[:bins]
    filled = np.flatnonzero(number)
    if not len(filled):
        return np.empty(0)
    source = filled[np.maximum(np.searchsorted(filled, np.arange(bins), side="right") - 1, 0)]
    return np.asarray(total[source] / number[source], dtype=np.float64)


def littles_law(starts: Floats, ends: Floats, begin: float, end: float) -> float | None:
    """|L - lambda W| / L over a window in seconds; None where the window is shorter than twenty mean residence
    times (what is under way at its edges then decides) or nothing was in flight."""
    inside = (starts >= begin) & (starts < end)
    if not inside.any():
        return None
    residence = float((ends[inside] - starts[inside]).mean())
    length = end - begin
    present = float(in_flight(starts, ends, np.array([begin, end]))[0])
    if present <= 0 or length < 20 * residence:
        return None
    return abs(present - float(inside.sum()) / length * residence) / present
