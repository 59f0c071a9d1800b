"""How sure a figure is: intervals for percentiles, means, shares and rates.

Requests of one run are not independent: a slow second slows them all. The number of independent samples, n_eff,
is therefore estimated from the sample in time order and is what the intervals are built on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
_MOST_BATCHES = 1 << 16
_REPLICATES = 1000
_BLOCK = 1 << 20


def effective_samples(series: NDArray[Any]) -> float:
    """n_eff = n / (1 + 2 sum rho_k) of a series in time order, at most n.

    The sum runs over the initial positive sequence of adjacent pairs (Geyer 1992, Practical Markov chain Monte
    Carlo): noise in the tail of the autocorrelation is left out. Series longer than 65,536 are first averaged in
    batches, which keeps the variance of the mean, and so n_eff.
    """
    n = len(series)
    if n < 4:
        return float(n)
    spread = variance(series)
    if spread == 0:
        return float(n)
    size = -(-n // _MOST_BATCHES)
    batches = n // size
    means = series[: batches * size].reshape(batches, size).mean(axis=1, dtype=np.float64)
    of_mean = float(means.var()) / batches * _correlation_time(means)
    return min(float(n), spread / of_mean) if of_mean > 0 else float(n)


def variance(values: NDArray[Any]) -> float:
    """The mean squared distance from the mean, a million values at a time: a copy of all would cost more than they."""
    mean = values.mean(dtype=np.float64)
    total = sum(float(np.square(values[at : at + _BLOCK] - mean).sum()) for at in range(0, len(values), _BLOCK))
    return total / len(values)


def _correlation_time(series: NDArray[np.float64]) -> float:
    """1 + 2 sum rho_k over the initial positive sequence; at least 1 / n."""
    return max(float(2 * positive_sequence(autocorrelation(series)).sum() - 1), 1 / len(series))


def autocorrelation(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """rho_k of a series for k = 0 to n - 1, each over all n (so that it fades). 1 alone for a constant series."""
    n = len(series)
    centred = series - series.mean()
    length = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, length)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), length)[:n]
    return covariance / covariance[0] if covariance[0] > 0 else np.ones(1)


def positive_sequence(rho: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of an autocorrelation before its first adjacent pair whose sum is not positive (Geyer 1992)."""
    pairs = rho[: max(len(rho) // 2 * 2, 2)]
    if len(pairs) < 2:
        return rho
    negative = np.flatnonzero(pairs.reshape(-1, 2).sum(axis=1) <= 0)
    return pairs[: 2 * negative[0]] if len(negative) else pairs


def quantile_bounds(ordered: NDArray[Any], q: float, n_eff: float) -> tuple[float | None, float | None]:
    """95 % bounds of the `q` quantile: the order statistics at ranks q -+ 1.96 sqrt(q (1 - q) / n_eff),
    rounded up (Conover, Practical Nonparametric Statistics).

    A bound whose rank falls outside the sample is None: the sample cannot tell.
    """
    n = len(ordered)
    half = Z95 * math.sqrt(q * (1 - q) / n_eff)
    low, high = math.ceil(n * (q - half)), math.ceil(n * (q + half))
    return (
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= n else None,
    )


def mean_bounds(series: NDArray[Any]) -> tuple[float, float] | None:
    """95 % interval of the mean of a series in time order; None below two values."""
    if len(series) < 2:
        return None
    mean = float(series.mean(dtype=np.float64))
    half = Z95 * float(series.std(ddof=1, dtype=np.float64)) / math.sqrt(effective_samples(series))
    return mean - half, mean + half


def share_bounds(hits: int, n: int) -> tuple[float, float] | None:
    """Exact 95 % interval of a share (Clopper & Pearson 1934); None where nothing was counted."""
    if n == 0:
        return None
    low = 0.0 if hits == 0 else _solve(lambda p: 1 - binomial_cdf(hits - 1, n, p), 0.025, rising=True)
    high = 1.0 if hits == n else _solve(lambda p: binomial_cdf(hits, n, p), 0.025, rising=False)
    return low, high


def _solve(function: Any, target: float, *, rising: bool) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if (function(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= k), from the shorter tail."""
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 or k >= n else 0.0
    lower = k <= n * p
    ks = np.arange(0, k + 1) if lower else np.arange(k + 1, n + 1)
    if not len(ks):
        return 1.0
    steps = np.log((n - ks[1:] + 1) / ks[1:])
    first = int(ks[0])
    start = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    logs = start + np.concatenate(([0.0], np.cumsum(steps))) + ks * math.log(p) + (n - ks) * math.log1p(-p)
    tail = float(np.exp(logs).sum())
    return min(1.0, tail) if lower else max(0.0, 1 - tail)


def rate_bounds(
    shares: NDArray[np.float64], weights: NDArray[np.float64], seed: int
) -> list[tuple[float, float] | None]:
    """95 % intervals of the rates sum(shares) / sum(weights), one for each column of `shares`.

    Block bootstrap over sessions (Kuensch 1989, circular as in Politis & Romano 1992): rows are sessions in order
    of arrival, blocks are n^(1/3) long, 1,000 replicates. `weights` is the time of the window that each session
    stands for, in seconds. None below six sessions.
    """
    n, columns = shares.shape
    if n < 6:
        return [None] * columns
    size = max(1, round(n ** (1 / 3)))
    together = np.column_stack((shares, weights))
    wrapped = np.concatenate((np.zeros((1, columns + 1)), np.cumsum(np.vstack((together, together[:size])), axis=0)))
    sums = wrapped[size : size + n] - wrapped[:n]  # the block that begins at each session
    rng = np.random.default_rng(seed)
    draws = max(1, round(n / size))
    totals = np.array([sums[rng.integers(0, n, draws)].sum(axis=0) for _ in range(_REPLICATES)])
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = totals[:, :-1] / totals[:, -1:]
    rates = rates[np.isfinite(rates).all(axis=1)]
    if len(rates) < _REPLICATES // 2:
        return [None] * columns
    low, high = np.quantile(rates, (0.025, 0.975), axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
