"""One row of figures per metric, for spreadsheets. Unknown is an empty cell; values are in the unit told."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from harness.metrics.summary import MetricStats
from harness.report.figures import inert

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_FIGURES = {"p99.9": "p999"}  # column -> attribute, where they differ
_MOMENTS = ("mean", "stddev", "min", "p50", "p90", "p95", "p99", "p99.9", "max")
_BOUNDS = ("p50", "p90", "p95", "p99")
HEADER = (
    *("run", "name", "metric", "unit", "n", "n_eff"),
    *_MOMENTS,
    *(f"{quantity}_{end}" for quantity in _BOUNDS for end in ("low", "high")),
    "verdict",
)


class CsvReport:
    """For spreadsheets and for gluing many runs together: every row names its run and its verdict."""

    name = "csv"
    extension = "csv"

    def render(self, analysis: Analysis) -> str:
        """RFC 4180, with a header."""
        summary = analysis.summary
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(HEADER)
        for metric, stats in summary.metrics.items():
            about = (inert(summary.run.id), inert(summary.run.name), metric, stats.unit)
            writer.writerow([*about, *_row(stats), summary.validity.verdict])
        return out.getvalue()


def _row(stats: MetricStats) -> list[object]:
    moments = [getattr(stats, _FIGURES.get(name, name)) for name in _MOMENTS]
    bounds = [end for quantity in _BOUNDS for end in stats.ci95.get(quantity, (None, None))]
    return ["" if value is None else value for value in (stats.n, stats.n_eff, *moments, *bounds)]
