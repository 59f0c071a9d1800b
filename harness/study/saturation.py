"""Is more asked than can be served? Then queue and latency rise for as long as the load lasts, and no percentile of a
short run tells what would become of them."""

from __future__ import annotations

import math

import numpy as np

from harness.judge.student import t_cdf
from harness.metrics import steady
from harness.metrics.analysis import Analysis
from harness.metrics.intervals import effective_samples
from harness.metrics.table import UNKNOWN, Floats, seconds
from harness.units import NS_PER_S

BINS = 20
LEVEL = 0.01
MATERIAL = 0.25  # rise over the window, by its mean


def saturated(analysis: Analysis) -> bool:
    """Both ttft and requests in flight rise over the window, significantly (1 % each) and by more than a quarter.

    Only an open load can: a closed one holds the number in flight.
    """
    if analysis.terms.closed or analysis.window.seconds <= 0:
        return False
    table, window = analysis.table, analysis.window
    sent = table.sent_ns != UNKNOWN
    starts, ends = table.sent_ns[sent] / NS_PER_S, table.end_ns[sent] / NS_PER_S
    edges = np.linspace(window.start_ns / NS_PER_S, window.end_ns / NS_PER_S, BINS + 1)
    ttft = seconds(table.first_token_ns, table.sent_ns)[sent]
    return rises(steady.in_flight(starts, ends, edges)) and rises(_means(starts, ttft, edges))


def rises(series: Floats) -> bool:
    """The slope of a straight line through the series is above zero (one-sided t test, residuals thinned to their
    effective number), and the line rises by more than a quarter of the mean."""
    known = np.flatnonzero(~np.isnan(series))
    if len(known) < BINS // 2:
        return False
    x, y = known.astype(np.float64), series[known]
    slope, cut = np.polyfit(x, y, 1)
    mean = float(y.mean())
    if slope <= 0 or mean <= 0 or slope * (x[-1] - x[0]) <= MATERIAL * mean:
        return False
    rest = y - (slope * x + cut)
    n_eff = effective_samples(rest)
    if n_eff <= 3:
        return False
    spread = float((rest**2).mean())
    if spread == 0:
        return True
    error = math.sqrt(spread * len(x) / (n_eff - 2) / float(((x - x.mean()) ** 2).sum()))
    return 1 - t_cdf(float(slope) / error, n_eff - 2) < LEVEL


def _means(times: Floats, values: Floats, edges: Floats) -> Floats:
    """The mean of the values in each bin; NaN where there is none."""
    known = ~np.isnan(values)
    number, _ = np.histogram(times[known], edges)
    total, _ = np.histogram(times[known], edges, weights=values[known])
    means: Floats = np.divide(total, number, out=np.full(len(number), np.nan), where=number > 0)
    return means
