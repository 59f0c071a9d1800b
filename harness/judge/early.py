"""Ends a run before its time: an SLO is broken for good, or all are decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.judge.breach import ABORTED, Breach
from harness.judge.evaluate import evaluate
from harness.judge.expression import parse_all
from harness.judge.look import LOOKS, Held, look
from harness.metrics.terms import Terms, read_terms
from harness.records.folder import RunFolder
from harness.records.manifest import WorkerReport
from harness.records.snapshot import Snapshot
from harness.units import NS_PER_S


class EarlyEnd:
    """Asked a few times a second while the load goes.

    An SLO marked `abort` ends it once it is surely broken. With `load.max_duration` the load is planned that long and
    looked at three times: after `load.duration`, after the geometric mean of both, and at the end. `held` judges what
    has reached the disk so far. Requests under way are not among that, so a look only ends the load: the verdicts are
    those of all records, at the confidence of one look of three.
    """

    def __init__(self, terms: Terms, held: Callable[[], Held]) -> None:
        self._breach = Breach(parse_all(terms.slo))
        self._held = held
        self._due_s = look_times(terms) if terms.slo else []
        self._looked = 0
        self._finding: dict[str, Any] | None = None

    def ended(self, snapshots: Sequence[Snapshot], t_ns: int) -> str | None:
        """Why the load is to end now, told once; None to go on."""
        if self._finding is not None:
            return None
        if (words := self._breach.found(snapshots)) is not None:
            self._finding = {"code": ABORTED, "severity": "warning", "message": f"aborted early: {words}"}
        elif self._due_s and t_ns >= self._due_s[0] * NS_PER_S and (words := self._looked_at()) is not None:
            self._finding = {"code": "decided", "severity": "info", "message": f"decided early: {words}"}
        return None if self._finding is None else str(self._finding["message"])

    def _looked_at(self) -> str | None:
        del self._due_s[0]
        self._looked += 1
        try:
            held = self._held()
        except HarnessError:  # nothing on disk yet
            return None
        if held == "undecided":
            return None
        return f"{'all SLOs hold' if held == 'holds' else 'an SLO fails'} at look {self._looked} of {LOOKS}"

    def noted(self, reports: list[WorkerReport]) -> list[WorkerReport]:
        """The same reports with what to know of an early end: nobody interrupted that run."""
        if self._finding is not None and reports:
            reports[0].findings.append(self._finding)
            for report in reports:
                report.interrupted = False
        return reports


def early_end(folder: RunFolder, *, shard: bool = False) -> EarlyEnd:
    """Of the run in this folder, by its own config. A shard of a plan is not judged, so nothing ends it."""
    return EarlyEnd(Terms() if shard else read_terms(folder), lambda: look(evaluate(folder).summary.slo))


def look_times(terms: Terms) -> list[float]:
    """The looks before the last, in seconds from the start of the load. None without `load.max_duration`."""
    if terms.duration_s is None or terms.max_duration_s is None:
        return []
    begin_s = terms.ramp_s + terms.warmup_s
    return [begin_s + terms.duration_s, begin_s + math.sqrt(terms.duration_s * terms.max_duration_s)]
