"""Where a series of runs changed its level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.judge.student import t_cdf

LEAST = 3  # runs on either side of a change
DOUBT = 0.001
WEAK = 0.05

Floats = NDArray[np.float64]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The level is `before` up to the run at index `at` and `after` from it on, each a mean over its stretch; `p` is
    that of the t-test between the two stretches."""

    at: int
    before: float
    after: float
    p: float


def change_points(values: Sequence[float], doubt: float = DOUBT) -> list[Change]:
    """Change points in order: E-divisive (Matteson & James 2014, energy distance, exponent 1) with Student's t-test in
    the place of its permutations, as in Hunter (Fleming et al. 2023, arXiv 2301.03034) and Apache Otava, which grew out
    of it. Stretches are split where they differ most for as long as the halves differ at `doubt`; then points that no
    longer do between their neighbours are dropped. Logarithms are compared where all values are positive.
    """
    raw = np.asarray(values, dtype=np.float64)
    scaled = np.log(raw) if len(raw) and raw.min() > 0 else raw
    cuts: list[int] = []
    while (found := _next(scaled, [0, *cuts, len(scaled)])) is not None:
        cuts = sorted([*cuts, found])
    while cuts:
        ends = [0, *cuts, len(scaled)]
        doubts = [_p(scaled[a:b], scaled[b:c]) for a, b, c in zip(ends, ends[1:], ends[2:], strict=False)]
        weakest = int(np.argmax(doubts))
        if doubts[weakest] <= doubt:
            break
        del cuts[weakest]
    for i in range(len(cuts)):  # where a cut was made before its neighbours were, it may be a run or two off
        begin, end = [0, *cuts][i], [*cuts, len(scaled)][i + 1]
        cuts[i] = begin + _split(scaled[begin:end])
    ends = [0, *cuts, len(scaled)]
    return [
        Change(at=b, before=float(raw[a:b].mean()), after=float(raw[b:c].mean()), p=_p(scaled[a:b], scaled[b:c]))
        for a, b, c in zip(ends, ends[1:], ends[2:], strict=False)
    ]


def _next(values: Floats, ends: list[int]) -> int | None:
    """The surest further split of any stretch."""
    best: tuple[float, int] | None = None
    for begin, end in pairwise(ends):
        if end - begin < 2 * LEAST:
            continue
        stretch = values[begin:end]
        split = _split(stretch)
        p = _p(stretch[:split], stretch[split:])
        if p <= WEAK and (best is None or p < best[0]):
            best = (p, begin + split)
    return None if best is None else best[1]


def _split(values: Floats) -> int:
    """Where the energy distance m n / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|) of the two parts is largest."""
    n = len(values)
    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = np.abs(values[:, None] - values[None, :]).cumsum(axis=0).cumsum(axis=1)
    sizes = np.arange(LEAST, n - LEAST + 1)
    left, all_left = sums[sizes, sizes], sums[sizes, n]
    right = sums[n, n] - 2 * all_left + left
    m, k = sizes, n - sizes
    distance = 2 * (all_left - left) / (m * k) - left / (m * (m - 1)) - right / (k * (k - 1))
    return int(sizes[np.argmax(m * k / n * distance)])


def _p(before: Floats, after: Floats) -> float:
    """Two-sided p of Student's t-test with one variance."""
    m, n = len(before), len(after)
    apart = abs(float(after.mean() - before.mean()))
    squares = float(((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum())
    if squares <= 0:
        return 1.0 if apart == 0 else 0.0
    t = apart / math.sqrt(squares / (m + n - 2) * (1 / m + 1 / n))
    return 2 * t_cdf(-t, m + n - 2)
