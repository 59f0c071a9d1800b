"""CSV for Apache Otava, formerly Hunter, which finds change points in series of runs.

Format: docs/CSV.md and otava/importer.py of https://github.com/apache/otava: a header, a row a run, a `time_column`
that dateparser reads, `attributes` copied as text, `metrics` read by float(). One run gives one row: drop the header
of all but the first and append, or let `harness history --format csv` write all rows at once.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from harness.report.series import HEADER, row

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis


class OtavaReport:
    """For `otava analyze`: `type: csv`, `time_column: time`, metrics by our names (`ttft.p50`)."""

    name = "otava"
    extension = "csv"

    def render(self, analysis: Analysis) -> str:
        """The header and the row of this run. A figure that is not known is empty, and Otava refuses such a metric."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([HEADER, row(analysis.summary)])
        return out.getvalue()
