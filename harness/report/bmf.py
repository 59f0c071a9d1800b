"""Bencher Metric Format, for `bencher run --adapter json` (https://bencher.dev/docs/reference/bencher-metric-format).

{"<benchmark>": {"<measure>": {"value": ..., "lower_value": ..., "upper_value": ...}}}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.records.document import indented
from harness.report.figures import clean
from harness.report.measures import measures

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_SLUG = re.compile(r"[^a-z0-9]+")


class BmfReport:
    """The run's name is the benchmark, each figure a measure with its interval. Measures are slugs: `ttft-p50-s`."""

    name = "bmf"
    extension = "json"

    def render(self, analysis: Analysis) -> str:
        """The whole document."""
        told = {}
        for one in measures(analysis.summary):
            metric = {"value": one.value, "lower_value": one.low, "upper_value": one.high}
            told[_slug(f"{one.name} {one.unit}")] = {key: value for key, value in metric.items() if value is not None}
        name = clean(analysis.summary.run.name or analysis.summary.run.id, 200)
        return indented({f"harness/{name}": told}).decode() + "\n"


def _slug(text: str) -> str:
    return _SLUG.sub("-", text.lower()).strip("-")[:64]
