"""How many independent values a percentile rests on, where values in order of time resemble their neighbours."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import autocorrelation, effective_samples, positive_sequence
from harness.metrics.quantiles import quantile

_MOST = 1 << 16  # beyond it a tail holds enough values to speak for itself
_GRID = np.linspace(-1, 1, 513)

Floats = NDArray[np.float64]


class Dependence:
    """Of `values` in order of time, `ordered` being the same sorted."""

    def __init__(self, values: NDArray[Any], ordered: NDArray[Any]) -> None:
        self._values = values
        self._ordered = ordered

    def samples(self, q: float) -> float:
        """n_eff of the `q` quantile, at most n: the smaller of two estimates.

        One is that of the indicator of the values beyond the quantile, on the side of the shorter tail. It is true but
        noisy: a tail holds few values, correlation is hard to see among them, and n_eff comes out too large. The other
        takes the correlation of all values' ranks to the tail, as if they were a Gaussian process seen through any
        marginal distribution. Where so many failed that the quantile is itself a miss there is no tail to look at: n.
        """
        n = len(self._values)
        middle = quantile(self._ordered, q)
        if math.isinf(middle):
            return float(n)
        seen = effective_samples(self._values > middle if q >= 0.5 else self._values < middle)
        if not 4 <= n <= _MOST or self._ordered[0] == self._ordered[-1]:
            return seen
        indicator = np.interp(self._latent, _GRID, _of_indicator(q))
        return min(seen, n / max(float(2 * indicator.sum() - 1), 1.0))

    @cached_property
    def _latent(self) -> Floats:
        """The autocorrelation of the Gaussian process whose ranks these are, over its initial positive sequence: that
        of normal values with Spearman's correlation r is 2 sin(pi r / 6) (Pearson 1907)."""
        first = np.searchsorted(self._ordered, self._values, "left")
        last = np.searchsorted(self._ordered, self._values, "right")
        latent: Floats = 2 * np.sin(np.pi / 6 * autocorrelation((first + last) / 2))
        return positive_sequence(latent)


@lru_cache(maxsize=32)
def _of_indicator(q: float) -> Floats:
    """The correlation of the indicators "beyond the q quantile" of two normal values, for each correlation of these on
    the grid: the integral of the bivariate density at (z, z) (Plackett 1954), by Gauss and Legendre over its angle."""
    z = NormalDist().inv_cdf(q)
    points, weights = np.polynomial.legendre.leggauss(32)
    angle = np.arcsin(_GRID)[:, None]
    density = np.exp(-(z**2) / (1 + np.sin(angle * (points + 1) / 2))) / (2 * np.pi)
    covariance: Floats = (density * weights).sum(axis=1) * angle[:, 0] / 2
    return covariance / (q * (1 - q))
