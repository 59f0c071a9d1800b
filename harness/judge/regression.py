"""A finished run against one baseline: has a figure become worse by more than is allowed?

One run against one other cannot tell a regression from a machine that has drifted meanwhile, however many requests
each has. Medians of runs far apart in time are taken to wander by 8.4 % (one standard deviation), with which a plain
"more than 10 %" rule raises a false alarm in one comparison of five. So, unless both runs come with a run of the same
unchanged reference, each made in the same job as its own, by which they are normalised as (run / reference) /
(baseline / its reference):

- a regression counts where the change is surely larger than the limit times `DRIFT`, which drift alone exceeds in one
  comparison of forty;
- what lies within that is *advisory*: told, and without effect on the exit code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from harness.errors import ExitCode
from harness.judge.contrast import Ratio, ratio
from harness.judge.expression import Expression
from harness.judge.likeness import Difference, differences, kind_of_load, unlike_loads
from harness.judge.slo import judge_slo
from harness.judge.subject import Subject
from harness.judge.term import of_expression
from harness.metrics.analysis import Analysis
from harness.metrics.intervals import Z95
from harness.metrics.summary import SloResult, SloVerdict

SCHEMA = 1
BETWEEN_RUNS = 0.084  # standard deviation of ln(median) between runs of the same thing: 21 % of pairs differ by > 10 %
DRIFT = math.exp(Z95 * math.sqrt(2) * BETWEEN_RUNS)  # 1.26
_SAME_MACHINE = ("processor", "cores", "memory_bytes", "system")
_SAME_ENGINE = ("engine", "engine_version", "model", "backend")


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One expression of a gate. `change` is how much worse the run is than the baseline (1.1: 10 % worse); an advisory
    verdict has no effect on the exit code."""

    expr: str
    verdict: SloVerdict
    value: float | None = None
    baseline: float | None = None
    limit: float | None = None
    change: Ratio | None = None
    unit: str = ""
    advisory: bool = False
    reason: str = ""


class GateReport(msgspec.Struct, kw_only=True):
    """What a gate says about a run, and the exit code that means."""

    schema: int = SCHEMA
    run: str
    validity: str
    baseline: str | None = None
    normalised: bool = False
    results: list[Judged] = []
    mismatch: list[Difference] = []
    notes: list[str] = []
    exit_code: int = 0


def judge(
    subject: Subject, analysis: Analysis, expressions: Sequence[Expression], baseline: Subject | None = None
) -> GateReport:
    """Judge a run by its SLOs and by what a gate asks of it."""
    mismatch = [] if baseline is None else mismatches(subject, baseline)
    results = [
        against(expression, subject, baseline, mismatch) if expression.regress else _judged(expression, analysis)
        for expression in expressions
    ]
    report = GateReport(
        run=subject.source,
        validity=subject.summary.validity.verdict,
        baseline=None if baseline is None else baseline.source,
        normalised=baseline is not None and _normalised(subject, baseline),
        results=results,
        mismatch=mismatch,
    )
    report.notes = _notes(report, baseline)
    report.exit_code = int(exit_code(report, regressions=[expression.regress for expression in expressions]))
    return report


def mismatches(subject: Subject, baseline: Subject) -> list[Difference]:
    """What makes a baseline useless for this run: another machine, engine or load."""
    found = [
        difference
        for difference in differences(baseline, subject)
        if (difference.where == "machine" and difference.what in _SAME_MACHINE)
        or (difference.where == "engine" and difference.what in _SAME_ENGINE)
    ]
    kinds = kind_of_load(baseline), kind_of_load(subject)
    if None not in kinds and kinds[0] != kinds[1]:
        return [Difference(where="config", what="load", base=kinds[0], other=kinds[1]), *found]
    return [*unlike_loads(baseline, subject), *found]


def against(
    expression: Expression, subject: Subject, baseline: Subject | None, mismatch: Sequence[Difference] = ()
) -> Judged:
    """One `regress(...)` against a baseline.

    Pass if the upper bound of the change keeps the limit, fail if the lower bound breaks it, else inconclusive; so is
    whatever is held against an invalid run.
    """
    judged = Judged(expr=expression.text, verdict="inconclusive", limit=expression.limit)
    if baseline is None:
        reason = "no baseline to hold it against (--baseline RUN)"
        return msgspec.structs.replace(judged, verdict="skipped", reason=reason)
    wanted = of_expression(expression)
    mine, theirs = subject.estimate(wanted), baseline.estimate(wanted)
    judged = msgspec.structs.replace(judged, value=mine.value, baseline=theirs.value, unit=wanted.unit)
    if mismatch:
        words = "; ".join(difference.told() for difference in mismatch[:3])
        return msgspec.structs.replace(judged, reason=f"the baseline does not fit: {words}")
    if baseline.summary.validity.verdict == "invalid":
        reason = "the baseline is an invalid run: what it says counts for nothing"
        return msgspec.structs.replace(judged, reason=reason)
    over, under = [mine], [theirs]
    if subject.reference is not None and baseline.reference is not None:
        over.append(baseline.reference.estimate(wanted))
        under.append(subject.reference.estimate(wanted))
    worse = ratio(over, under) if wanted.better == "lower" else ratio(under, over)
    if worse is None:
        reason = mine.reason or theirs.reason or "a figure that is not above zero has no ratio"
        return msgspec.structs.replace(judged, reason=reason)
    judged = msgspec.structs.replace(judged, change=worse)
    if worse.low is None or worse.high is None:
        return msgspec.structs.replace(judged, reason="too few samples for an interval of the change")
    return _verdict(judged, worse.low, worse.high, drift=1.0 if _normalised(subject, baseline) else DRIFT)


def _verdict(judged: Judged, low: float, high: float, *, drift: float) -> Judged:
    """From the bounds of the change. `drift` is the factor by which the machine may have changed meanwhile."""
    limit = 1 + (judged.limit or 0.0)
    if high <= limit:
        return msgspec.structs.replace(judged, verdict="pass")
    if low > limit * drift:
        reason = "" if drift == 1 else f"more than drift explains (a factor of {drift:.2f})"
        return msgspec.structs.replace(judged, verdict="fail", reason=reason)
    if drift > 1 and high <= limit * drift:
        verdict: SloVerdict = "fail" if low > limit else "inconclusive"
        return msgspec.structs.replace(judged, verdict=verdict, advisory=True, reason="drift may explain it")
    reason = "the limit lies within the 95 % interval of the change"
    return msgspec.structs.replace(judged, reason=reason if drift == 1 else f"{reason}, drift allowed for")


def _normalised(subject: Subject, baseline: Subject) -> bool:
    return subject.reference is not None and baseline.reference is not None


def _judged(expression: Expression, analysis: Analysis) -> Judged:
    found: SloResult = judge_slo(expression, analysis)
    return Judged(
        expr=found.expr,
        verdict=found.verdict,
        value=found.value,
        limit=found.limit,
        unit=expression.unit,
        reason=found.reason,
    )


def exit_code(report: GateReport, regressions: Sequence[bool]) -> ExitCode:
    """Invalid (4) before failed (10) before regression (11) before inconclusive (12); advisory verdicts count for
    nothing."""
    if report.validity == "invalid":
        return ExitCode.INVALID
    counted = [
        (result.verdict, regress)
        for result, regress in zip(report.results, regressions, strict=True)
        if not result.advisory
    ]
    if ("fail", False) in counted:
        return ExitCode.FAILED
    if ("fail", True) in counted:
        return ExitCode.REGRESSION
    if any(verdict == "inconclusive" for verdict, _ in counted):
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASSED


def _notes(report: GateReport, baseline: Subject | None) -> list[str]:
    notes = []
    if report.validity == "invalid":
        notes.append(f"the run is invalid, so nothing it says counts: harness report {report.run} says why")
    if not report.results:
        notes.append("nothing to judge: neither slo nor gate in the config of the run, nor --expr")
    if baseline is None:
        if any(result.verdict == "skipped" for result in report.results):
            notes.append("regress(...) is skipped without a baseline: --baseline RUN, or harness ab")
        return notes
    if baseline.summary.validity.verdict == "invalid":
        notes.append("the BASELINE is an invalid run: store another one")
    if not report.normalised:
        notes.append(
            "one baseline without an in-run reference: verdicts within what a machine drifts"
            f" (a factor of {DRIFT:.2f}) are advisory and do not change the exit code"
        )
    return notes
