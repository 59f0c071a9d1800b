"""How surely a percentile lies below a limit that few values exceed: needs no interval of the percentile."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.metrics.quantiles import CONFIDENCE


def surely_below(over: int, n: int, n_eff: float, q: float) -> bool:
    """Whether the q quantile lies below a limit with 95 % confidence, when `over` of `n` values exceed that limit.

    Where values resemble their neighbours n_eff is itself an estimate, and by simulation errs enough to turn 5 % of
    doubt into 8 %: from n_eff < n / 2 on, half the doubt is allowed.
    """
    doubt = (1 - CONFIDENCE) * (0.5 if n_eff < n / 2 else 1.0)
    return chance_of_so_few(over, n, n_eff, q) <= doubt


def chance_of_so_few(over: int, n: int, n_eff: float, q: float) -> float:
    """The chance that at most `over` of `n` values exceed a limit that truly a share 1 - q exceeds.

    Exceedances of a high limit come in clusters. The clusters are independent, as many as binomial(n / m, 1 - q), and
    their sizes geometric with mean m (the compound Poisson limit of Hsing, Hüsler & Leadbetter 1988, with the binomial
    that is exact for independent values: m = 1). m = (1 + q n / n_eff) / (1 + q) gives their number the variance that
    n_eff stands for; `n_eff` is that of the indicator at the q quantile. c geometric sizes sum to at most `over` when
    as many trials with chance 1 / m bring c successes, so this is P(binomial(n / m, 1 - q) <= binomial(over, 1 / m)).
    """
    size = (1 + q * n / n_eff) / (1 + q)
    clusters = max(math.floor(n / max(size, 1.0)), 1)
    most = min(over, clusters)
    seen = _probabilities(clusters, 1 - q, most)
    fit = _probabilities(over, min(1.0, 1 / size), over)
    at_least = np.cumsum(fit[::-1])[::-1]
    return min(1.0, float((seen * at_least[: most + 1]).sum()))


def _probabilities(n: int, p: float, most: int) -> NDArray[np.float64]:
    """P(binomial(n, p) = k) for k = 0 to `most`."""
    ks = np.arange(1, most + 1)
    if p >= 1:
        return np.concatenate(([float(n == 0)], (ks == n).astype(np.float64)))
    steps = np.log((n - ks + 1) / ks) + math.log(p) - math.log1p(-p)
    found: NDArray[np.float64] = np.exp(n * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(steps))))
    return found
