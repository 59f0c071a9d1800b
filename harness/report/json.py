"""`summary.json`, to the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metrics.summary import to_json

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis


class JsonReport:
    """For programs."""

    name = "json"
    extension = "json"

    def render(self, analysis: Analysis) -> bytes:
        """The bytes of `summary.json`."""
        return to_json(analysis.summary) + b"\n"
