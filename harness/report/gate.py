"""What a gate says, for people."""

from __future__ import annotations

from harness.judge.regression import GateReport, Judged
from harness.report.comparison import change, markdown_table, table
from harness.report.figures import amount, clean
from harness.report.markup import escape
from harness.units import format_share

_MARKS = {"pass": "✓ pass", "fail": "✗ FAIL", "inconclusive": "! inconclusive", "skipped": "· skipped"}
_CODES = {0: "passed", 4: "invalid", 10: "failed", 11: "regression", 12: "inconclusive"}


def text(report: GateReport) -> str:
    """Plain text."""
    lines = ["", f" {_head(report)}", "", *table(_rows(report))] if report.results else ["", f" {_head(report)}"]
    return "\n".join([*lines, *(f" · {clean(note)}" for note in report.notes)]) + "\n"


def markdown(report: GateReport) -> str:
    """GitHub's flavour."""
    lines = [f"## {escape(_head(report))}", ""]
    if report.results:
        lines += [*markdown_table(_rows(report)), ""]
    return "\n".join([*lines, *(f"- {escape(clean(note))}" for note in report.notes)]).rstrip() + "\n"


def _head(report: GateReport) -> str:
    mark = {0: "✓", 12: "!"}.get(report.exit_code, "✗")
    against = f" against {clean(report.baseline)}" if report.baseline else ""
    return f"{mark} {_CODES.get(report.exit_code, 'error')}: {clean(report.run)}{against}   exit {report.exit_code}"


def _rows(report: GateReport) -> list[list[str]]:
    return [["", "verdict", "value", "limit", "why"], *(_row(result) for result in report.results)]


def _row(result: Judged) -> list[str]:
    verdict = _MARKS[result.verdict] + (" (advisory)" if result.advisory else "")
    if result.baseline is None and result.change is None:
        limit = format_share(result.limit) if result.verdict == "skipped" else amount(result.limit, result.unit)
        return [clean(result.expr), verdict, amount(result.value, result.unit), limit, clean(result.reason)]
    values = f"{amount(result.baseline, result.unit)} → {amount(result.value, result.unit)}"
    told = f"{values}: {change(result.change)} worse" if result.change else values
    return [clean(result.expr), verdict, told, format_share(result.limit), clean(result.reason)]
