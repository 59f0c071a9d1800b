"""Slowdown: makespan under load over the makespan of the same session replayed alone (`load.solo`).

The replay comes after the load, one session at a time, with the same shape and lengths and texts of its own. Its
records lie in a file of their own (`solo.jsonl`), which no other figure is made from.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.analysis import Analysis
from harness.metrics.session_figures import Slowdown
from harness.metrics.sessions import SessionTable, session_table
from harness.metrics.table import Floats, RecordTable

OFF = "no session was replayed alone: set load.solo, e.g. load.solo: 20"


def solo_sample(analysis: Analysis, most: int) -> list[int]:
    """Indices of measured, whole sessions to be replayed alone, in the order of replay: a sample drawn by the run's
    seed.

    One more than `most` where there are as many: the first one played warms what all sessions share, and is not
    counted.
    """
    measured = analysis.sessions.index[analysis.samples.sessions]
    drawn = np.random.default_rng(analysis.manifest.seed).permutation(np.sort(measured))[: most + 1]
    return [int(index) for index in drawn]


def slowdowns(table: RecordTable, sessions: SessionTable, alone: RecordTable | None) -> Floats:
    """By session of the run; NaN for all that were not replayed, or not to their end."""
    told = np.full(sessions.n, np.nan)
    if alone is None or not alone.n:
        return told
    solo = session_table(alone)
    counted = solo.whole & (solo.makespan > 0)
    counted[np.argmin(solo.arrival_ns)] = False  # it warmed what is shared
    took = {name: solo.makespan[code] for code, name in enumerate(alone.names["session"]) if counted[code]}
    for code, name in enumerate(table.names["session"]):
        if name in took:
            told[code] = sessions.makespan[code] / took[name]
    return told


def slowdown_figures(asked: int, replayed: int) -> Slowdown:
    """How many sessions `session.slowdown` rests on, and why it is unknown where it is."""
    if replayed:
        return Slowdown(asked=asked, sessions=replayed)
    reason = "no replay alone came to its end: allow more time (load.solo_for)" if asked else OFF
    return Slowdown(asked=asked, sessions=0, reason=reason)
