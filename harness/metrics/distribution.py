"""One metric's values -> `MetricStats`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.dependence import Dependence
from harness.metrics.intervals import quantile_bounds, variance
from harness.metrics.quantiles import quantile, sample_floor
from harness.metrics.summary import MetricStats

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_WITH_INTERVAL = ("p50", "p90", "p95", "p99")


def distribution(values: NDArray[Any], unit: str) -> MetricStats:
    """The statistics of known values in order of time. `n_eff` is that of the median."""
    n = len(values)
    if n == 0:
        return MetricStats(unit=unit)
    ordered = np.sort(values)
    dependence = Dependence(values, ordered)
    told: dict[str, Any] = {name: quantile(ordered, q) for name, q in PERCENTILES.items() if n >= sample_floor(q)}
    stats = MetricStats(
        unit=unit,
        n=n,
        mean=float(ordered.mean(dtype=np.float64)),
        stddev=math.sqrt(variance(ordered) * n / (n - 1)) if n > 1 else None,
        min=float(ordered[0]),
        max=float(ordered[-1]),
        n_eff=dependence.samples(0.5),
        **told,
    )
    for name in _WITH_INTERVAL:
        if name in told:
            low, high = quantile_bounds(ordered, PERCENTILES[name], dependence.samples(PERCENTILES[name]))
            if low is not None and high is not None:
                stats.ci95[name] = (low, high)
    return stats
