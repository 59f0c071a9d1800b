"""All that findings about a run are made from."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Summary
from harness.metrics.table import Bools, RecordTable
from harness.metrics.terms import Terms
from harness.metrics.window import Window
from harness.records.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measured data alone. `rows` are the ok requests of the window."""

    table: RecordTable
    sessions: SessionTable
    window: Window
    manifest: Manifest
    terms: Terms
    summary: Summary
    rows: Bools

    def worst(self, field: str) -> float | None:
        """The largest value any worker reports of its health; None without reports."""
        values = [getattr(worker.health, field) for worker in self.manifest.workers]
        return max(values, default=None)

    def share(self, part: Bools) -> float | None:
        """The share of the ok requests of the window that this is true of; None where there are none."""
        total = int(self.rows.sum())
        return int((part & self.rows).sum()) / total if total else None
