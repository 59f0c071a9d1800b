"""One metric's values -> `MetricStats`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.intervals import effective_samples, quantile_bounds
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
    told: dict[str, Any] = {name: quantile(ordered, q) for name, q in PERCENTILES.items() if n >= sample_floor(q)}
    stats = MetricStats(
        unit=unit,
        n=n,
        mean=float(ordered.mean(dtype=np.float64)),
        stddev=float(ordered.std(ddof=1, dtype=np.float64)) if n > 1 else None,
        min=float(ordered[0]),
        max=float(ordered[-1]),
        n_eff=tail_samples(values, ordered, 0.5),
        **told,
    )
    for name in _WITH_INTERVAL:
        if name in told:
            low, high = quantile_interval(values, ordered, PERCENTILES[name])
            if low is not None and high is not None:
                stats.ci95[name] = (low, high)
    return stats


def quantile_interval(values: NDArray[Any], ordered: NDArray[Any], q: float) -> tuple[float | None, float | None]:
    """95 % bounds of a quantile of values in order of time, `ordered` being the same sorted.

    A tail holds few values, so correlation is hard to see there and n_eff easily too large. A bound is therefore
    told only where the median's n_eff, which sees it well, would find it inside the sample too.
    """
    n_eff = tail_samples(values, ordered, q)
    cautious = min(n_eff, tail_samples(values, ordered, 0.5))
    low, high = quantile_bounds(ordered, q, n_eff)
    sure_low, sure_high = quantile_bounds(ordered, q, cautious)
    return (None if sure_low is None else low, None if sure_high is None else high)


def tail_samples(values: NDArray[Any], ordered: NDArray[Any], q: float) -> float:
    """n_eff of a quantile: that of the indicator of the values beyond it, on the side of the shorter tail."""
    middle = quantile(ordered, q)
    return effective_samples(values > middle if q >= 0.5 else values < middle)
