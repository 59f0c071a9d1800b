"""The measured window, and on which side of it each request lies. Made from times alone, never from `phase`, so
the answer is the same before and after the records on disk have been corrected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics import steady
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Finding
from harness.metrics.table import UNKNOWN, Bools, RecordTable, seconds
from harness.metrics.terms import Terms
from harness.records.manifest import Manifest
from harness.records.record import Phase
from harness.units import NS_PER_S, format_share

WARMUP, MEASURE, DRAIN = 0, 1, 2
PHASES: tuple[Phase, Phase, Phase] = ("warmup", "measure", "drain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`start_ns` to `end_ns` on the run's axis, both ends included.

    `counted` tells, by session, that it is no warm-up; `phases` holds WARMUP, MEASURE or DRAIN by record.
    """

    start_ns: int
    end_ns: int
    counted: Bools
    phases: NDArray[np.int8]
    findings: list[Finding]

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S


def measured_window(table: RecordTable, sessions: SessionTable, manifest: Manifest, terms: Terms) -> Window:
    """The window: from full load (and past the warm-up) until the first slot runs dry or arrivals end, less what
    MSER-5 finds to be a transient. The whole load where nothing would be left.
    """
    counted = _counted(sessions, manifest, terms)
    start = _full(sessions, manifest, terms)
    end = _dry(sessions, manifest, terms)
    findings: list[Finding] = []
    if start is not None and end is not None and counted.any():
        start = max(start, int((terms.ramp_s + terms.warmup_s) * NS_PER_S))
        if not counted.all():
            start = max(start, int(sessions.arrival_ns[counted].min()))
        start, findings = _settled(table, start, end)
        phases = _phases(table, counted, start, end)
        if start < end and (phases == MEASURE).any():
            return Window(start_ns=start, end_ns=end, counted=counted, phases=phases, findings=findings)
    return _whole_load(table, sessions, counted)


def _counted(sessions: SessionTable, manifest: Manifest, terms: Terms) -> Bools:
    if terms.warmup_s > 0:
        return np.asarray(sessions.arrival_ns >= (terms.ramp_s + terms.warmup_s) * NS_PER_S)
    return np.asarray(sessions.index >= manifest.warmup_sessions)


def _full(sessions: SessionTable, manifest: Manifest, terms: Terms) -> int | None:
    """When the load was full; None where it never was. Without workers' reports: the first instant at which as
    many sessions were live as the closed loop should hold."""
    if not terms.closed:
        return int(terms.ramp_s * NS_PER_S)
    told = [worker.full_ns for worker in manifest.workers]
    known = [full for full in told if full is not None]
    if known and len(known) == len(told):
        return max(known)
    times = np.concatenate((sessions.arrival_ns, sessions.end_ns))
    steps = np.repeat([1, -1], sessions.n)
    order = np.lexsort((-steps, times))
    full = np.flatnonzero(np.cumsum(steps[order]) >= (terms.concurrency or 1))
    return int(times[order][full[0]]) if len(full) else None


def _dry(sessions: SessionTable, manifest: Manifest, terms: Terms) -> int | None:
    """When the load stopped being full. Without workers' reports: the last arrival of an open loop; of a closed
    one the first session that ended after it, since no other took its slot."""
    known = [worker.dry_ns for worker in manifest.workers if worker.dry_ns is not None]
    if known:
        return min(known) if terms.closed else max(known)
    if not sessions.n:
        return None
    last = int(sessions.arrival_ns.max())
    if not terms.closed:
        return last
    after = sessions.end_ns[sessions.whole & (sessions.end_ns > last)]
    return int(after.min() if len(after) else sessions.end_ns.max())


def _settled(table: RecordTable, start: int, end: int) -> tuple[int, list[Finding]]:
    """The start, moved behind the transient that MSER-5 sees in the 1 s series of ttft and of requests in flight."""
    bins = (end - start) // NS_PER_S
    if bins < steady.LEAST_POINTS:
        return start, []
    sent = table.sent_ns != UNKNOWN
    begin = start / NS_PER_S
    starts, ends = table.sent_ns[sent] / NS_PER_S, table.end_ns[sent] / NS_PER_S
    ttft = seconds(table.first_token_ns, table.sent_ns)[sent]
    series = {
        "ttft": steady.means_by_second(starts, ttft, begin, bins),
        "in_flight": steady.in_flight(starts, ends, begin + np.arange(bins + 1.0)),
    }
    cuts = {name: steady.mser5(values) for name, values in series.items()}
    restless = [name for name, cut in cuts.items() if cut is None]
    findings = [_not_steady(restless, bins)] if restless else []
    cut = 0 if restless else max(cut or 0 for cut in cuts.values())
    start += cut * NS_PER_S
    off = steady.littles_law(starts, ends, start / NS_PER_S, end / NS_PER_S)
    if off is not None and off > 0.05:
        findings.append(_littles_law(off))
    return start, findings


def _phases(table: RecordTable, counted: Bools, start: int, end: int) -> NDArray[np.int8]:
    phases = np.full(table.n, MEASURE, dtype=np.int8)
    phases[table.intended_ns > end] = DRAIN
    phases[table.intended_ns < start] = WARMUP
    phases[~counted[table.session]] = WARMUP
    return phases


def _whole_load(table: RecordTable, sessions: SessionTable, counted: Bools) -> Window:
    counted = counted if counted.any() else np.ones(sessions.n, dtype=np.bool_)
    start = int(sessions.arrival_ns[counted].min()) if sessions.n else 0
    end = int(sessions.end_ns[counted].max()) if sessions.n else 0
    finding = Finding(
        code="whole_load",
        severity="info",
        message="the load was never full, warm and fed all at once: figures cover the whole of it, start and end too",
        remedy="give it more sessions or more time (load.sessions, load.duration)",
    )
    phases = _phases(table, counted, start, end)
    return Window(start_ns=start, end_ns=end, counted=counted, phases=phases, findings=[finding])


def _not_steady(names: list[str], bins: int) -> Finding:
    return Finding(
        code="not_steady",
        severity="warning",
        message=f"{' and '.join(names)} never settled within the {bins} s window (MSER-5)",
        value=", ".join(names),
        remedy="run longer, warm up longer (load.warmup), or offer less load than the server can take",
    )


def _littles_law(off: float) -> Finding:
    return Finding(
        code="littles_law",
        severity="warning",
        message=f"requests in flight and arrival rate x time in system differ by {format_share(off)}: no steady load",
        value=off,
        limit=0.05,
        remedy="run longer, or offer less load than the server can take",
    )
