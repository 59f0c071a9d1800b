"""One session, from its records: what it asked in which order, what it waited for, and what decided its end."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.metrics.analysis import Analysis
from harness.metrics.table import CANCELLED, OK, UNKNOWN
from harness.metrics.window import PHASES

_STATUS = {OK: "ok", CANCELLED: "cancelled"}


class RequestDetail(msgspec.Struct, kw_only=True):
    """One request. Times in seconds from the session's arrival; unknown is None.

    Attributes:
        after: nodes whose answers it waited for.
        critical: whether it lies on the critical path.
        gap_s: tools or thinking before it was ready; `ready_s` is its intended start.
        lag_s, prefill_s, decode_s: ready to sent (ours), sent to first token (queue and prefill), first token to end.
    """

    node: str
    agent: str
    depth: int
    attempt: int
    status: str
    error: str | None
    after: list[str]
    critical: bool
    gap_s: float
    ready_s: float
    sent_s: float | None
    first_token_s: float | None
    end_s: float
    lag_s: float
    prefill_s: float
    decode_s: float
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


class JoinDetail(msgspec.Struct, kw_only=True):
    """A request that waited for several branches. `slowest` is the last request of the slowest one."""

    node: str
    width: int
    slowest: str
    slowest_s: float
    straggler_s: float
    efficiency: float | None
    critical: bool


class PathDetail(msgspec.Struct, kw_only=True):
    """The critical path, its nodes in order, and what it is made of. The parts add up to `total_s`."""

    nodes: list[str]
    total_s: float
    prefill_s: float
    decode_s: float
    gap_s: float
    lag_s: float


class SessionDetail(msgspec.Struct, kw_only=True):
    """A session. `whole`: all that it had to ask ended well; `phase` is that of its arrival."""

    session: str
    kind: str
    phase: str
    whole: bool
    failed: bool
    arrival_s: float
    makespan_s: float
    ttfat_s: float | None
    slowdown: float | None
    critical_path: PathDetail
    joins: list[JoinDetail]
    requests: list[RequestDetail]


def find_session(analysis: Analysis, name: str) -> int | None:
    """The code of a session: by its id, its number, or as `median`, `p95` or `slowest` of the measured ones by
    makespan. None where there is no such session."""
    names = analysis.table.names["session"]
    if name in names:
        return names.index(name)
    shares = {"median": 0.5, "p95": 0.95, "slowest": 1.0}
    chosen = np.flatnonzero(analysis.samples.sessions)
    if name in shares and len(chosen):
        order = chosen[np.argsort(analysis.sessions.makespan[chosen], kind="stable")]
        return int(order[round(shares[name] * (len(order) - 1))])
    number = int(name) if name.isascii() and name.isdigit() else -1
    found = np.flatnonzero(analysis.sessions.index == number)
    return int(found[0]) if len(found) else None


def session_details(analysis: Analysis) -> Iterator[SessionDetail]:
    """The same of all sessions, in the order of arrival."""
    table = analysis.table
    order = np.argsort(table.session, kind="stable")
    starts = np.searchsorted(table.session[order], np.arange(analysis.sessions.n + 1))
    for session in np.argsort(analysis.sessions.arrival_ns, kind="stable").tolist():
        yield session_detail(analysis, session, order[starts[session] : starts[session + 1]])


def session_detail(analysis: Analysis, session: int, rows: NDArray[np.intp] | None = None) -> SessionDetail:
    """Everything the records tell of a session, by its code. Requests are in the order in which they were ready.

    `rows` are its records, where they are known.
    """
    table, sessions = analysis.table, analysis.sessions
    rows = np.flatnonzero(table.session == session) if rows is None else rows
    rows = rows[np.lexsort((table.end_ns[rows], table.intended_ns[rows]))]
    arrival = int(sessions.arrival_ns[session])
    first = int(rows[0])
    slowdown = analysis.samples.session_column("session.slowdown")[session]
    return SessionDetail(
        session=table.names["session"][session],
        kind=table.names["kind"][int(table.kind[first])],
        phase=PHASES[int(analysis.window.phases[first])],
        whole=bool(sessions.whole[session]),
        failed=bool(sessions.failed[session]),
        arrival_s=arrival * 1e-9,
        makespan_s=float(sessions.makespan[session]),
        ttfat_s=_known(sessions.ttfat[session]),
        slowdown=_known(slowdown),
        critical_path=_path(analysis, session, rows),
        joins=_joins(analysis, session, rows),
        requests=[_request(analysis, int(row), arrival) for row in rows],
    )


def _path(analysis: Analysis, session: int, rows: NDArray[np.intp]) -> PathDetail:
    sessions = analysis.sessions
    return PathDetail(
        nodes=[_node(analysis, row) for row in rows[sessions.critical[rows]].tolist()],
        total_s=float(sessions.critical_path[session]),
        prefill_s=float(sessions.prefill[session]),
        decode_s=float(sessions.decode[session]),
        gap_s=float(sessions.gap[session]),
        lag_s=float(sessions.lag[session]),
    )


def _joins(analysis: Analysis, session: int, rows: NDArray[np.intp]) -> list[JoinDetail]:
    joins, critical = analysis.sessions.joins, analysis.sessions.critical
    low, high = np.searchsorted(joins.row, [rows.min(), rows.max() + 1])  # joins are in the order of their rows
    places = low + np.flatnonzero(joins.session[low:high] == session)
    places = places[np.argsort(analysis.table.intended_ns[joins.row[places]], kind="stable")]
    return [
        JoinDetail(
            node=_node(analysis, int(joins.row[place])),
            width=int(joins.width[place]),
            slowest=_node(analysis, int(joins.slowest[place])),
            slowest_s=float(joins.longest[place]),
            straggler_s=float(joins.straggler[place]),
            efficiency=_known(joins.efficiency[place]),
            critical=bool(critical[joins.row[place]]),
        )
        for place in places
    ]


def _request(analysis: Analysis, row: int, arrival: int) -> RequestDetail:
    table = analysis.table
    ready, end = int(table.intended_ns[row]), int(table.end_ns[row])
    sent, token = _stamp(table.sent_ns[row]), _stamp(table.first_token_ns[row])
    begun = end if sent is None else sent
    spoke = end if token is None else token
    low, high = np.searchsorted(table.child, [row, row + 1])
    error = int(table.error[row])
    return RequestDetail(
        node=_node(analysis, row),
        agent=table.names["agent"][int(table.agent[row])],
        depth=int(table.depth[row]),
        attempt=int(table.attempt[row]),
        status=_STATUS.get(int(table.status[row]), "failed"),
        error=table.names["error"][error] if error >= 0 else None,
        after=[_node(analysis, int(parent)) for parent in table.parent[low:high]],
        critical=bool(analysis.sessions.critical[row]),
        gap_s=int(table.gap_ns[row]) * 1e-9,
        ready_s=(ready - arrival) * 1e-9,
        sent_s=None if sent is None else (sent - arrival) * 1e-9,
        first_token_s=None if token is None else (token - arrival) * 1e-9,
        end_s=(end - arrival) * 1e-9,
        lag_s=(begun - ready) * 1e-9,
        prefill_s=(spoke - begun) * 1e-9,
        decode_s=(end - spoke) * 1e-9,
        input_tokens=_stamp(table.input_tokens[row]),
        cached_tokens=_stamp(table.cached_tokens[row]),
        output_tokens=_stamp(table.output_tokens[row]),
    )


def _node(analysis: Analysis, row: int) -> str:
    return analysis.table.names["node"][int(analysis.table.node[row])]


def _stamp(value: np.int64) -> int | None:
    return None if value == UNKNOWN else int(value)


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
