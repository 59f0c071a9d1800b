"""The `gate:` list of a config, judged at the end of its own run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.judge.expression import Expression
from harness.judge.slo import judge_slo
from harness.metrics.analysis import Analysis
from harness.metrics.summary import SloResult


def judge_gate(expressions: Sequence[Expression], analysis: Analysis) -> list[SloResult]:
    """A verdict for each expression. Limits are judged as SLOs; a regression cannot be seen in one run and is
    skipped, with the command that judges it."""
    return [
        _skipped(expression) if expression.regress else judge_slo(expression, analysis) for expression in expressions
    ]


def _skipped(expression: Expression) -> SloResult:
    return SloResult(
        expr=expression.text,
        verdict="skipped",
        limit=expression.limit,
        reason="one run cannot show a regression: give a baseline (harness gate RUN --baseline RUN), or use harness ab",
    )
