"""Is the load steady? Where a transient ends (MSER-5), and whether L = lambda W."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.table import Floats

BATCH = 5
LEAST_POINTS = 20
MATERIAL = 0.05


def mser5(series: NDArray[np.float64]) -> int | None:
    """How many leading points to leave out: MSER-5 (White, Cobb & Spratt 2000).

    The series is averaged in batches of five; of all d up to half of them the one is chosen that minimises the
    squared standard error of what remains, sum (y_i - mean)^2 / (k - d)^2. With few batches that is often chance, so
    a cut is made only where what it leaves out stands out from what it keeps. None where what is kept still drifts
    (its first half stands out from its second): the series has no steady part. Under 20 points nothing is left out.
    """
    if len(series) < LEAST_POINTS:
        return 0
    batches = len(series) // BATCH
    by_batch = series[: batches * BATCH].reshape(batches, BATCH)
    means = by_batch.mean(axis=1)
    noise = float(np.sqrt(by_batch.var(axis=1, ddof=1).mean() / BATCH))  # of one batch's mean
    errors = [float(means[d:].var()) / (batches - d) for d in range(batches // 2 + 1)]
    cut = int(np.argmin(errors))
    if cut and not _stands_out(means[:cut], means[cut:], noise):
        cut = 0
    middle = cut + (batches - cut) // 2
    return None if _stands_out(means[cut:middle], means[middle:], noise) else cut * BATCH


def _stands_out(some: Floats, others: Floats, noise: float) -> bool:
    """Means apart by more than three standard errors of the noise, and by more than 5 % of the mean of both."""
    apart = abs(float(some.mean() - others.mean()))
    error = noise * float(np.sqrt(1 / len(some) + 1 / len(others)))
    return apart > 3 * error and apart > MATERIAL * abs(float(some.mean() + others.mean())) / 2


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
