"""One figure of a run by its name: `ttft.p95`, `rates.output_tokens_per_s`, and which way of it is the better."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from harness.errors import ExpressionError
from harness.judge.expression import Expression, parse
from harness.judge.slo import Estimate, estimate
from harness.metrics.analysis import Analysis
from harness.metrics.catalogue import scalar
from harness.metrics.intervals import Z95
from harness.metrics.summary import Summary

Better = Literal["lower", "higher"]

_HIGHER = ("interactivity", "fluidity", "session.parallel_efficiency")


class Term(msgspec.Struct, frozen=True):
    """A parsed name of a figure."""

    expression: Expression

    @property
    def name(self) -> str:
        labels = ",".join(f"{label}={value}" for label, value in self.expression.labels)
        stat = f".{self.expression.stat}" if self.expression.stat else ""
        return f"{self.expression.metric}{'{' + labels + '}' if labels else ''}{stat}"

    @property
    def unit(self) -> str:
        return self.expression.unit

    @property
    def better(self) -> Better:
        metric = self.expression.metric
        return "higher" if metric in _HIGHER or metric.startswith("rates.") else "lower"

    def of(self, analysis: Analysis) -> Estimate:
        """The figure of a run whose records are at hand. Failures count as misses in its percentiles."""
        return estimate(self.expression, analysis)

    def of_summary(self, summary: Summary) -> Estimate:
        """The figure as far as a summary alone tells it."""
        metric, stat = self.expression.metric, self.expression.stat
        if stat is None:
            return _scalar(summary, metric)
        stats = summary.metrics.get(metric)
        if stats is None or self.expression.labels:
            return Estimate(reason="not in the summary")
        value = getattr(stats, "p999" if stat == "p99.9" else stat, None)
        if value is None:
            return Estimate(reason="not in the summary")
        bounds = stats.ci95.get(stat)
        if stat == "mean" and stats.stddev is not None and stats.n_eff:
            half = Z95 * stats.stddev / math.sqrt(stats.n_eff)
            bounds = (value - half, value + half)
        return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])


def term(text: str) -> Term:
    """The term in `text`.

    Raises:
        ExpressionError: it names no figure; the nearest one is told.
    """
    whole = f"regress({text}) < 0%"
    try:
        return of_expression(parse(whole))
    except ExpressionError as error:
        raise ExpressionError(error.message.replace(whole, text), remedy=error.remedy) from None


def of_expression(expression: Expression) -> Term:
    """The term that an expression speaks of, free of its limit."""
    bare = Term(msgspec.structs.replace(expression, operator="<", limit=math.inf, regress=False))
    if bare.better == "lower":
        return bare
    return Term(msgspec.structs.replace(bare.expression, operator=">", limit=-math.inf))


def _scalar(summary: Summary, name: str) -> Estimate:
    value = scalar(summary, name)
    if value is None:
        return Estimate(reason="not in the summary")
    bounds = summary.rates_ci95.get(name.removeprefix("rates."))
    if name == "cost.per_1m_tokens" and summary.cost is not None:
        bounds = summary.cost.ci95
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds[0], high=bounds[1])
