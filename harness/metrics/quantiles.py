"""Percentiles of a sample, and how large a sample each of them needs.

Method: linear interpolation between order statistics (numpy's `linear`, Hyndman & Fan type 7): what numpy,
pandas and most load generators print. Percentiles are taken from the records themselves and never averaged.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

CONFIDENCE = 0.95
METHOD = "linear"


def quantile(ordered: NDArray[Any], q: float) -> float:
    """The `q` quantile (0..1) of a sorted, non-empty sample. By hand since numpy would partition it again."""
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    below, above = float(ordered[low]), float(ordered[high])
    return below if below == above else below + (above - below) * (place - low)


def sample_floor(q: float, misses: int = 0, confidence: float = CONFIDENCE) -> int:
    """How many samples a percentile needs before it is told: the smallest n that could show, with `confidence`,
    that a share `q` of all values lies below a limit when `misses` of the n do not.

    This is the smallest n with I_q(n - misses, misses + 1) <= 1 - confidence, the rule of MLPerf's early
    stopping: p90 29, p95 59, p99 299, p99.9 2,995. Quantiles below the middle mirror those above it. The median
    can be missed on either side, so each side gets half the doubt: 6.
    """
    if q == 0.5 and misses == 0:
        return math.ceil(math.log((1 - confidence) / 2) / math.log(0.5))
    q = max(q, 1 - q)
    doubt = 1 - confidence
    low, high = misses + 1, misses + 2
    while _at_most(misses, high, 1 - q) > doubt:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if _at_most(misses, middle, 1 - q) > doubt:
            low = middle + 1
        else:
            high = middle
    return low


def _at_most(misses: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= misses), which is I_(1-p)(n - misses, misses + 1)."""
    return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(misses + 1))
