"""A run as understood: the summary, and what lies behind each of its figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.metrics.goodput import Good
from harness.metrics.samples import Samples
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Summary
from harness.metrics.table import RecordTable
from harness.metrics.terms import Terms
from harness.metrics.window import PHASES, Window
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """`table` and `sessions` hold every record and session; `window` tells which of them are measured; `samples`
    gives the raw values of any metric; `good` is None where no limit says what good is; `folder` is where the run
    lies, None for records in memory.
    """

    summary: Summary
    manifest: Manifest
    terms: Terms
    table: RecordTable
    sessions: SessionTable
    window: Window
    samples: Samples
    good: Good | None
    folder: RunFolder | None = None

    def phases(self) -> Iterator[Phase]:
        """The final phase of every record, in reading order: what `records.phases.rewrite_phases` takes."""
        return (PHASES[phase] for phase in self.window.phases.tolist())
