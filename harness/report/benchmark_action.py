"""JSON for github-action-benchmark (https://github.com/benchmark-action/github-action-benchmark).

    [{"name": ..., "unit": ..., "value": ..., "range": "± ...", "extra": ...}]

That action takes a file in which smaller is better and one in which bigger is: two formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.document import indented
from harness.report.figures import clean
from harness.report.measures import Measure, measures

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis


class SmallerIsBetterReport:
    """For `tool: customSmallerIsBetter`: latencies, costs, errors."""

    name = "benchmark-smaller"
    extension = "json"

    def render(self, analysis: Analysis) -> str:
        """The whole document."""
        return _document(analysis, higher_is_better=False)


class BiggerIsBetterReport:
    """For `tool: customBiggerIsBetter`: rates."""

    name = "benchmark-bigger"
    extension = "json"

    def render(self, analysis: Analysis) -> str:
        """The whole document."""
        return _document(analysis, higher_is_better=True)


def _document(analysis: Analysis, *, higher_is_better: bool) -> str:
    extra = f"{clean(analysis.summary.run.id)}: {analysis.summary.validity.verdict}"
    rows = [_entry(one, extra) for one in measures(analysis.summary) if one.higher_is_better == higher_is_better]
    return indented(rows).decode() + "\n"


def _entry(one: Measure, extra: str) -> dict[str, str | float]:
    entry: dict[str, str | float] = {"name": one.name, "unit": one.unit, "value": one.value, "extra": extra}
    if one.low is not None and one.high is not None:
        entry["range"] = f"± {(one.high - one.low) / 2:.3g}"
    return entry
