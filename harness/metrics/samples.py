"""The raw values behind every metric: those of the measured window, in order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import latency
from harness.metrics.catalogue import METRICS, NEVER_MISSED
from harness.metrics.goodput import Limit
from harness.metrics.sessions import SessionTable
from harness.metrics.table import FAILED, OK, Bools, Floats, RecordTable
from harness.metrics.window import MEASURE, Window

Values = NDArray[np.floating[Any]]


class Samples:
    """Values by metric, computed when asked for and kept.

    Requests count when they began in the window and succeeded; sessions when they arrived in it and are whole;
    joins when their session counts.
    """

    def __init__(
        self,
        table: RecordTable,
        sessions: SessionTable,
        window: Window,
        limits: Sequence[Limit] = (),
        session_cost: Floats | None = None,
        slowdown: Floats | None = None,
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._paces = _paces(limits)
        self._beside = {"session.cost": session_cost, "session.slowdown": slowdown}  # by session, where known
        measured = window.phases == MEASURE
        arrived = (sessions.arrival_ns >= window.start_ns) & (sessions.arrival_ns <= window.end_ns)
        self.rows: Bools = measured & (table.status == OK)
        self.failed_rows: Bools = measured & (table.status == FAILED)
        self.sessions: Bools = window.counted & arrived & sessions.whole
        self.failed_sessions: Bools = window.counted & arrived & sessions.failed
        self._kept: dict[str, Values] = {}
        self._by_row: dict[str, Floats] = {}

    def values(self, metric: str, labels: Mapping[str, str] | None = None) -> Values:
        """The known values of a metric, in order of time; empty where it was not measured.

        Raises:
            KeyError: there is no such metric.
        """
        if labels:
            return self._compute(metric, self._table.where(labels))
        if metric not in self._kept:
            self._kept[metric] = self._compute(metric, None)
        return self._kept[metric]

    def with_misses(self, metric: str, labels: Mapping[str, str], miss: float) -> tuple[Values, int]:
        """The same, with `miss` in the place of each request or session that failed, and how many those are.

        This is what an SLO on a percentile is judged on: a failure is no fast answer. Gaps and joins of failures
        have no place, and sizes no misses, so those metrics come as they are.
        """
        level = METRICS[metric].level
        missed = {"request": self.failed_rows, "session": self.failed_sessions}.get(level)
        if missed is None or metric in NEVER_MISSED or not missed.any():
            return self.values(metric, labels), 0
        chosen = self._table.where(labels)
        if level == "request":
            rows = (self.rows | self.failed_rows) & chosen
            column, when, good = self.by_row(metric), self._table.intended_ns, self.rows
        else:
            rows = (self.sessions | self.failed_sessions) & self._having(chosen)
            column, when, good = self.session_column(metric), self._sessions.arrival_ns, self.sessions
        kept = np.flatnonzero(rows)
        kept = kept[np.argsort(when[kept], kind="stable")]
        values = _known(np.where(good, column, miss)[kept])
        return values, int(np.isinf(values).sum())

    def by_row(self, metric: str) -> Floats:
        """A request metric for every record, in reading order, whatever its phase and status."""
        if metric not in self._by_row:
            function = METRICS[metric].by_row
            if function is not None:
                self._by_row[metric] = function(self._table)
            elif metric == "fluidity" and self._paces:
                self._by_row[metric] = latency.fluidity(self._table, *self._paces)
            else:
                self._by_row[metric] = np.full(self._table.n, np.nan)
        return self._by_row[metric]

    def _compute(self, name: str, chosen: Bools | None) -> Values:
        metric = METRICS[name]
        table, sessions = self._table, self._sessions
        rows = self.rows if chosen is None else self.rows & chosen
        if metric.level == "event":
            return latency.itl(table, rows)
        if metric.level == "request":
            kept = np.flatnonzero(rows)
            return _known(self.by_row(name)[kept[np.argsort(table.intended_ns[kept], kind="stable")]])
        concerned = self.sessions if chosen is None else self.sessions & self._having(chosen)
        if metric.level == "join":
            counted = sessions.joins.of(concerned)
            order = np.argsort(sessions.arrival_ns[sessions.joins.session[counted]], kind="stable")
            return _known(getattr(sessions, metric.field)[counted][order])
        kept = np.flatnonzero(concerned)
        return _known(self.session_column(name)[kept[np.argsort(sessions.arrival_ns[kept], kind="stable")]])

    def session_column(self, name: str) -> Floats:
        """A session metric for every session of the run, whole and measured or not; NaN where it is unknown."""
        if name not in self._beside:
            return np.asarray(getattr(self._sessions, METRICS[name].field), dtype=np.float64)
        known = self._beside[name]
        return np.full(self._sessions.n, np.nan) if known is None else known

    def _having(self, rows: Bools) -> Bools:
        """Sessions with any of these rows."""
        return np.asarray(np.bincount(self._table.session[rows], minlength=self._sessions.n) > 0)


def _known(values: NDArray[Any]) -> Values:
    floats = np.asarray(values, dtype=np.float64)
    return floats[~np.isnan(floats)]


def _paces(limits: Sequence[Limit]) -> tuple[float, float] | None:
    """Deadlines of the first and of each further token, where limits on ttft and on tpot or itl set them."""
    upper = {limit.metric: limit.bound for limit in limits if limit.operator in {"<", "<="} and not limit.labels}
    following = upper.get("tpot", upper.get("itl"))
    return (upper["ttft"], following) if "ttft" in upper and following else None
