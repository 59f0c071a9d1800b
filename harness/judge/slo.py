"""SLO verdicts: pass and fail only where the interval of the figure lies on one side of the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.judge.expression import Expression
from harness.metrics.analysis import Analysis
from harness.metrics.catalogue import METRICS, scalar
from harness.metrics.dependence import Dependence
from harness.metrics.exceedance import surely_below
from harness.metrics.goodput import Limit
from harness.metrics.intervals import Z95, mean_bounds, quantile_bounds, share_bounds
from harness.metrics.quantiles import quantile, sample_floor
from harness.metrics.samples import Values
from harness.metrics.summary import SloResult, SloVerdict

# Cost by the hour is one over a rate: its interval is that of the rate, turned round.
_COST_OF = {
    "cost.per_1m_tokens": "total_tokens_per_s",
    "cost.per_1k_requests": "requests_per_s",
    "cost.per_session": "sessions_per_hour",
    "cost.per_good_session": "goodput_sessions_per_hour",
}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % bounds; a bound that the sample cannot give is None. `exact`: the figure is what was
    observed and has no interval, so it is judged as it is."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    exact: bool = False
    reason: str = ""


def judge_slos(expressions: Sequence[Expression], analysis: Analysis) -> list[SloResult]:
    """A verdict for each expression."""
    return [judge_slo(expression, analysis) for expression in expressions]


def judge_slo(expression: Expression, analysis: Analysis) -> SloResult:
    """Pass if the far bound keeps the limit, fail if the near bound breaks it, else inconclusive."""
    found = estimate(expression, analysis)
    verdict, reason = _verdict(expression, found)
    bounds = (found.low, found.high)
    known = all(bound is not None and math.isfinite(bound) for bound in bounds)
    return SloResult(
        expr=expression.text,
        verdict=verdict,
        value=found.value if found.value is not None and math.isfinite(found.value) else None,
        limit=expression.limit,
        ci95=(bounds[0], bounds[1]) if known else None,  # type: ignore[arg-type]
        reason=reason,
    )


def limits_of(expressions: Sequence[Expression]) -> list[Limit]:
    """What one request or session must hold for goodput: the limits set on percentiles and maxima.

    Where a metric has several (p50 < 200ms, p95 < 500ms) the loosest is what a single request may take.
    """
    loosest: dict[tuple[str, tuple[tuple[str, str], ...], bool], Expression] = {}
    for expression in expressions:
        metric = METRICS.get(expression.metric)
        single = metric is not None and (metric.by_row is not None or (metric.level == "session" and metric.field))
        if expression.regress or not single or not (expression.quantile or expression.stat == "max"):
            continue
        below = expression.operator in {"<", "<="}
        key = (expression.metric, expression.labels, below)
        other = loosest.get(key)
        if other is None or (expression.limit > other.limit) == below:
            loosest[key] = expression
    return [
        Limit(metric=found.metric, operator=found.operator, bound=found.limit, labels=found.labels)
        for found in loosest.values()
    ]


def estimate(expression: Expression, analysis: Analysis) -> Estimate:
    """The figure that an expression speaks of, and how sure it is."""
    if expression.metric not in METRICS:
        return _scalar(expression.metric, analysis)
    labels = dict(expression.labels)
    block = analysis.summary.sessions
    if expression.metric == "session.slowdown" and block is not None and block.slowdown.reason:
        return Estimate(reason=f"not measured: {block.slowdown.reason}")
    if expression.quantile is not None:
        below = expression.operator in {"<", "<="}
        values, missed = analysis.samples.with_misses(expression.metric, labels, math.inf if below else -math.inf)
        return _percentile(values, expression.quantile, missed, expression.limit, below=below)
    values = analysis.samples.values(expression.metric, labels)
    if not len(values):
        return Estimate(reason="not measured: no such request or session succeeded in the window")
    if expression.stat == "mean":
        bounds = mean_bounds(values)
        if bounds is None:
            return Estimate(value=float(values.mean()), reason="one value has no interval")
        return Estimate(value=float(values.mean(dtype=np.float64)), low=bounds[0], high=bounds[1])
    if expression.stat == "stddev":
        if len(values) < 2:
            return Estimate(reason="one value has no spread")
        return Estimate(value=float(values.std(ddof=1, dtype=np.float64)), exact=True)
    return Estimate(value=float(values.min() if expression.stat == "min" else values.max()), exact=True)


def _percentile(values: Values, q: float, missed: int, limit: float, *, below: bool) -> Estimate:
    if not len(values):
        return Estimate(reason="not measured: no such request or session ended in the window")
    floor = sample_floor(q)
    if len(values) < floor:
        return Estimate(reason=f"too few samples: needs {floor}, has {len(values)}")
    ordered = np.sort(values)
    n_eff = Dependence(values, ordered).samples(q)
    low, high = quantile_bounds(ordered, q, n_eff)
    reason = f"{missed} of {len(values)} failed and count as misses" if missed else ""
    found = Estimate(value=quantile(ordered, q), low=low, high=high, reason=reason)
    if low is not None and high is not None:
        return found
    if (high if below else low) is None and math.isfinite(limit):
        over = int((values > limit).sum() if below else (values < limit).sum())
        if surely_below(over, len(values), n_eff, q if below else 1 - q):
            return _kept(found, limit, over, len(values), below=below)
    far = max(q, 1 - q)
    needed = math.ceil(Z95**2 * far / (1 - far))
    why = f"needs {needed} independent samples for an interval, has {n_eff:.0f}" + (f"; {reason}" * bool(reason))
    return msgspec.structs.replace(found, reason=why)


def _kept(found: Estimate, limit: float, over: int, n: int, *, below: bool) -> Estimate:
    """Where the sample is too small for an interval of the percentile, it may still be large enough to bound how many
    miss the limit. There is no interval then: only on which side the percentile lies."""
    side = "over" if below else "under"
    reason = f"{over} of {n} {side} the limit: enough samples for this verdict, too few for an interval"
    bounds = (None, limit) if below else (limit, None)
    return msgspec.structs.replace(found, low=bounds[0], high=bounds[1], reason=reason)


def _scalar(name: str, analysis: Analysis) -> Estimate:
    summary = analysis.summary
    value = scalar(summary, name)
    if value is None:
        return Estimate(reason=_why_unknown(name, analysis))
    if name == "error_rate":
        requests = summary.counts.requests
        bounds = share_bounds(requests.failed, requests.ok + requests.failed)
    elif name.startswith("rates."):
        bounds = summary.rates_ci95.get(name.removeprefix("rates."))
    else:
        bounds = _cost_bounds(name, value, analysis)
    return Estimate(value=value, exact=True) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])


def _why_unknown(name: str, analysis: Analysis) -> str:
    if not name.startswith("cost."):
        return "not measured"
    cost = analysis.summary.cost
    if cost is None:
        return "no cost is configured"
    return "not known" if cost.basis != "price" else "not known of what is paid by the token"


def _cost_bounds(name: str, value: float, analysis: Analysis) -> tuple[float, float] | None:
    summary = analysis.summary
    if summary.cost is None or name not in _COST_OF:
        return None
    if summary.cost.basis == "price":
        return mean_bounds(analysis.samples.values("session.cost")) if name == "cost.per_session" else None
    rate = getattr(summary.rates, _COST_OF[name])
    low, high = summary.rates_ci95.get(_COST_OF[name], (0.0, 0.0))
    return (value * rate / high, value * rate / low) if low > 0 else None


def _verdict(expression: Expression, found: Estimate) -> tuple[SloVerdict, str]:
    limit, operator = expression.limit, expression.operator
    if found.value is None:
        return "inconclusive", found.reason
    if found.exact:
        held = {
            "<": found.value < limit,
            "<=": found.value <= limit,
            ">": found.value > limit,
            ">=": found.value >= limit,
        }
        return "pass" if held[operator] else "fail", found.reason or "judged as observed: this figure has no interval"
    if operator in {"<", "<="}:
        passed = found.high is not None and found.high <= limit
        failed = found.low is not None and found.low > limit
    else:
        passed = found.low is not None and found.low >= limit
        failed = found.high is not None and found.high < limit
    if passed or failed:
        return "pass" if passed else "fail", found.reason
    return "inconclusive", found.reason or "the limit lies within the 95 % interval"
