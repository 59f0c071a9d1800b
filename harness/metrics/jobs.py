"""The `sessions` block of a summary: what a session takes, reuses and waits for, and the kinds of a mix."""

from __future__ import annotations

import numpy as np

from harness.metrics.catalogue import METRICS
from harness.metrics.distribution import distribution
from harness.metrics.join_tail import join_figures
from harness.metrics.prefix import prefix_reuse
from harness.metrics.samples import Samples
from harness.metrics.session_figures import Amplification
from harness.metrics.sessions import SessionTable
from harness.metrics.slowdown import slowdown_figures
from harness.metrics.summary import KindFigures, SessionFigures
from harness.metrics.table import FAILED, UNKNOWN, Bools, Floats, RecordTable
from harness.metrics.window import Window

_TOLD = ("session.makespan", "session.requests", "session.tokens", "ttft", "tpot", "e2e")


def session_block(
    table: RecordTable,
    sessions: SessionTable,
    window: Window,
    samples: Samples,
    *,
    ideal: float | None = None,
    solo: int = 0,
) -> SessionFigures | None:
    """All figures of the block; None where no session was measured. `ideal` is H*, `solo` is `load.solo`."""
    if not samples.sessions.any() and not samples.rows.any():
        return None
    return SessionFigures(
        prefix_reuse=prefix_reuse(table, samples.rows, ideal),
        amplification=amplification(sessions, samples.sessions),
        joins=join_figures(table, sessions, samples.sessions),
        straggler_share=straggler_share(sessions, samples.sessions),
        kinds=_kinds(table, sessions, window, samples),
        slowdown=slowdown_figures(solo, len(samples.values("session.slowdown"))),
    )


def amplification(sessions: SessionTable, counted: Bools) -> Amplification:
    """Means over the counted sessions; None where the tokens of any of them are unknown."""

    def mean(values: Floats) -> float | None:
        found = float(values[counted].mean(dtype=np.float64)) if counted.any() else np.nan
        return None if np.isnan(found) else found

    return Amplification(
        sessions=int(counted.sum()),
        requests=mean(sessions.requests.astype(np.float64)),
        input_tokens=mean(sessions.input_tokens),
        uncached_input_tokens=mean(sessions.input_tokens - sessions.cached_tokens),
        cached_input_tokens=mean(sessions.cached_tokens),
        output_tokens=mean(sessions.output_tokens),
        reasoning_tokens=mean(sessions.reasoning_tokens),
    )


def straggler_share(sessions: SessionTable, counted: Bools) -> float | None:
    """Time that the counted sessions would have saved, had the slowest branch of each join on their critical paths been
    as fast as the median one, over the length of these paths; None where there are no joins."""
    joins = sessions.joins
    if not joins.of(counted).any():
        return None
    lost = joins.straggler[joins.of(counted) & sessions.critical[joins.row]].sum()
    total = sessions.critical_path[counted].sum()
    return float(lost / total) if total > 0 else None


def _kinds(table: RecordTable, sessions: SessionTable, window: Window, samples: Samples) -> list[KindFigures]:
    """By kind, the most sessions first; nothing where there is but one."""
    names = table.names["kind"]
    if len(names) < 2:
        return []
    counted = window.counted[table.session]
    told = []
    for code, name in enumerate(names):
        own = table.kind == code
        having = np.bincount(table.session[own], minlength=sessions.n) > 0
        values = {metric: samples.values(metric, {"kind": name}) for metric in _TOLD}
        told.append(
            KindFigures(
                kind=name,
                sessions=int((window.counted & sessions.whole & having).sum()),
                requests=int((counted & own & (table.sent_ns != UNKNOWN)).sum()),
                failed=int((counted & own & (table.status == FAILED)).sum()),
                metrics={
                    metric: distribution(found, METRICS[metric].unit) for metric, found in values.items() if len(found)
                },
            )
        )
    return sorted(told, key=lambda figures: (-figures.sessions, figures.kind))
