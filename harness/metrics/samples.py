"""The raw values behind every metric: those of the measured window, in order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import latency
from harness.metrics.catalogue import METRICS
from harness.metrics.goodput import Limit
from harness.metrics.sessions import SessionTable
from harness.metrics.table import OK, Bools, Floats, RecordTable
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
    ) -> None:
        self._table = table
        self._sessions = sessions
        self._paces = _paces(limits)
        self._session_cost = session_cost
        self.rows: Bools = (window.phases == MEASURE) & (table.status == OK)
        arrived = (sessions.arrival_ns >= window.start_ns) & (sessions.arrival_ns <= window.end_ns)
        self.sessions: Bools = window.counted & arrived & sessions.whole
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
        concerned = self.sessions
        if chosen is not None:
            concerned = concerned & (np.bincount(table.session[chosen], minlength=sessions.n) > 0)
        if metric.level == "join":
            counted = concerned[sessions.join_session]
            order = np.argsort(sessions.arrival_ns[sessions.join_session[counted]], kind="stable")
            return _known(getattr(sessions, metric.field)[counted][order])
        values = self._session_cost if name == "session.cost" else getattr(sessions, metric.field)
        if values is None:
            return np.empty(0)
        kept = np.flatnonzero(concerned)
        return _known(values[kept[np.argsort(sessions.arrival_ns[kept], kind="stable")]])


def _known(values: NDArray[Any]) -> Values:
    floats = np.asarray(values, dtype=np.float64)
    return floats[~np.isnan(floats)]


def _paces(limits: Sequence[Limit]) -> tuple[float, float] | None:
    """Deadlines of the first and of each further token, where limits on ttft and on tpot or itl set them."""
    upper = {limit.metric: limit.bound for limit in limits if limit.operator in {"<", "<="} and not limit.labels}
    following = upper.get("tpot", upper.get("itl"))
    return (upper["ttft"], following) if "ttft" in upper and following else None
