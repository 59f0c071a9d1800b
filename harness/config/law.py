"""What is true of each law of probability: quantiles, shares below a value, and means of what is cut off.

All of it before clipping. The laws and their parameters are those of `harness.config.distribution`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from statistics import NormalDist
from typing import Literal, Protocol

Kind = Literal["constant", "uniform", "normal", "lognormal", "geometric", "exponential", "choice"]

_NORMAL = NormalDist()
_LEAST_U = 2.0**-54  # half a step of a 53-bit uniform number: stands for a draw of exactly zero


class Law(Protocol):
    """A kind and its parameters; those that it does not take are None."""

    @property
    def dist(self) -> Kind: ...
    @property
    def value(self) -> float | None: ...
    @property
    def median(self) -> float | None: ...
    @property
    def sigma(self) -> float | None: ...
    @property
    def mean_(self) -> float | None: ...
    @property
    def stddev(self) -> float | None: ...
    @property
    def min(self) -> float | None: ...
    @property
    def max(self) -> float | None: ...
    @property
    def values(self) -> list[float] | None: ...
    @property
    def weights(self) -> list[float] | None: ...


def that(value: float | None) -> float:
    """A parameter that the law has."""
    assert value is not None
    return value


def quantile(d: Law, u: float) -> float:
    """The inverse of the distribution function at `u`, before clipping."""
    match d.dist:
        case "constant":
            return that(d.value)
        case "lognormal":
            return that(d.median) * math.exp(that(d.sigma) * _NORMAL.inv_cdf(max(u, _LEAST_U)))
        case "normal":
            return that(d.mean_) + that(d.stddev) * _NORMAL.inv_cdf(max(u, _LEAST_U))
        case "uniform":
            low, high = that(d.min), that(d.max)
            return low + u * (high - low)
        case "exponential":
            return -that(d.mean_) * math.log1p(-u)
        case "geometric":
            mean = that(d.mean_)
            return 1.0 if mean == 1 else max(1.0, math.ceil(math.log1p(-u) / math.log1p(-1.0 / mean)))
        case "choice":
            values, shares = _choices(d)
            edges = list(accumulate(shares))
            return values[min(bisect_right(edges, u * edges[-1]), len(values) - 1)]


def below(d: Law, x: float) -> float:
    """P(X < x) before clipping."""
    match d.dist:
        case "constant":
            return float(that(d.value) < x)
        case "lognormal":
            return _phi(_ratio(math.log(x / that(d.median)), that(d.sigma))) if x > 0 else 0.0
        case "normal":
            return _phi(_ratio(x - that(d.mean_), that(d.stddev)))
        case "uniform":
            low, high = that(d.min), that(d.max)
            return float(low < x) if low == high else min(max((x - low) / (high - low), 0.0), 1.0)
        case "exponential":
            return -math.expm1(-x / that(d.mean_)) if x > 0 else 0.0
        case "geometric":
            return 1.0 - (1.0 - 1.0 / that(d.mean_)) ** max(0, math.ceil(x) - 1)
        case "choice":
            return sum(share for value, share in zip(*_choices(d), strict=True) if value < x)


def limited(d: Law, x: float) -> float:
    """E[min(X, x)] before clipping; `x` may be infinite."""
    match d.dist:
        case "constant":
            return min(that(d.value), x)
        case "choice":
            return sum(share * min(value, x) for value, share in zip(*_choices(d), strict=True))
        case "uniform":
            low, high = that(d.min), that(d.max)
            top = min(x, high)
            return x if x <= low else top - (top - low) ** 2 / (2 * (high - low)) if high > low else low
        case "normal":
            mean, spread = that(d.mean_), that(d.stddev)
            z = _ratio(x - mean, spread)
            above = x * _phi(-z) if math.isfinite(x) else 0.0
            return mean * _phi(z) - spread * (_NORMAL.pdf(z) if math.isfinite(z) else 0.0) + above
        case "lognormal":
            if x <= 0:
                return x
            median, sigma = that(d.median), that(d.sigma)
            z = _ratio(math.log(x / median), sigma)
            above = x * _phi(-z) if math.isfinite(x) else 0.0
            return median * math.exp(sigma * sigma / 2) * _phi(z - sigma) + above
        case "exponential":
            mean = that(d.mean_)
            return x if x <= 0 else -mean * math.expm1(-x / mean)
        case "geometric":
            mean = that(d.mean_)
            if x <= 1 or not math.isfinite(x):
                return min(x, mean)
            fail, whole = 1.0 - 1.0 / mean, math.floor(x)
            return mean * (1.0 - fail**whole) + (x - whole) * fail**whole


def _phi(z: float) -> float:
    """The standard normal distribution function; `z` may be infinite."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _ratio(distance: float, spread: float) -> float:
    """`distance / spread`; without any spread, everything lies at the middle."""
    if spread == 0:
        return math.inf if distance > 0 else -math.inf
    return distance / spread


def _choices(d: Law) -> tuple[list[float], list[float]]:
    """Values and their shares (sum 1)."""
    values = d.values or []
    weights = d.weights or [1.0] * len(values)
    total = sum(weights)
    return values, [weight / total for weight in weights]
