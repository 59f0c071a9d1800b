"""The tail at a join: what a session's 95th percentile asks of each branch (Dean & Barroso 2013)."""

from __future__ import annotations

from collections import Counter

import numpy as np

from harness.metrics.dependence import Dependence
from harness.metrics.intervals import quantile_bounds
from harness.metrics.joins import JoinTable
from harness.metrics.quantiles import quantile, sample_floor
from harness.metrics.session_figures import JoinFigures
from harness.metrics.sessions import SessionTable
from harness.metrics.table import CANCELLED, Bools, Floats, RecordTable

MOST_ROWS = 8
_TAIL = 0.95

Bounds = tuple[float, float]


def join_figures(table: RecordTable, sessions: SessionTable, counted: Bools) -> list[JoinFigures]:
    """A row for each kind and fan-out of the joins of the counted sessions, the most frequent first, at most eight.

    Sessions in which requests were cancelled are left out: a join that waited for the fastest says nothing about
    the slowest.
    """
    cut = np.bincount(table.session[table.status == CANCELLED], minlength=sessions.n) > 0
    joins = sessions.joins
    chosen = np.flatnonzero(joins.of(counted & ~cut))
    kinds = table.kind[joins.row[chosen]]
    groups = Counter(zip(kinds.tolist(), joins.width[chosen].tolist(), strict=True))
    return [
        _row(joins, table.names["kind"][kind], fan_out, chosen[(kinds == kind) & (joins.width[chosen] == fan_out)])
        for (kind, fan_out), _ in groups.most_common(MOST_ROWS)
    ]


def _row(joins: JoinTable, kind: str, fan_out: int, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> JoinFigures:
    """All joins of one kind and fan-out."""
    level = _TAIL ** (1 / fan_out)
    branches = np.flatnonzero(np.isin(joins.branch_join, chosen))
    each = joins.branch_took[branches[np.argsort(joins.branch_ready_ns[branches], kind="stable")]]
    slowest = joins.longest[chosen]  # in the order of their rows, which is about that of time
    value, bounds = _quantile(each, level)
    p95, p95_bounds = _quantile(slowest, _TAIL)
    efficiency = joins.efficiency[chosen]
    efficiency = efficiency[~np.isnan(efficiency)]
    return JoinFigures(
        kind=kind,
        fan_out=fan_out,
        joins=len(chosen),
        branches=len(branches),
        quantile=level,
        each=value,
        each_ci95=bounds,
        slowest_p95=p95,
        slowest_p95_ci95=p95_bounds,
        straggler_p50=_quantile(joins.straggler[chosen], 0.5)[0],
        efficiency_p50=_quantile(efficiency, 0.5)[0],
    )


def _quantile(values: Floats, q: float) -> tuple[float | None, Bounds | None]:
    """A quantile and its 95 % bounds, each where the sample is large enough to tell it."""
    if len(values) < sample_floor(q):
        return None, None
    ordered = np.sort(values)
    low, high = quantile_bounds(ordered, q, Dependence(values, ordered).samples(q))
    return quantile(ordered, q), None if low is None or high is None else (low, high)
