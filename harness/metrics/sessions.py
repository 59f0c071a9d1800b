"""Sessions, from records alone: who waited for whom, the chain that decided the end, and the tail at the joins.

A request is ready at its intended start (the last dependency's finish plus its gap) and finished at its end; it
took d = finish - ready. The final answer is the request that ended last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.joins import JoinTable, join_table
from harness.metrics.table import (
    CANCELLED,
    FAILED,
    OK,
    UNKNOWN,
    Bools,
    Codes,
    Floats,
    Ints,
    RecordTable,
    counts,
)

_INDEX = re.compile(r"^s(\d+)$")
_TOKENS = ("input", "cached", "output", "reasoning", "cache_write")
_PARTS = ("prefill", "decode", "gap", "lag")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTable:
    """One row a session, in the order of the codes in `RecordTable.session`.

    `index` is its place in the plan. `whole` tells that every request the plan gives it ended well. Times in
    seconds, NaN where unknown; the four parts add up to `critical_path`:
    `prefill` (queue + prefill: ttft), `decode` (first token to end), `gap` (tools and thinking), `lag` (ours).
    `tokens` are input + output, NaN where any request's are unknown. Joins have a table of their own. `critical`
    tells of each record whether it lies on its session's critical path.
    """

    n: int
    index: Ints
    arrival_ns: Ints
    end_ns: Ints
    failed: Bools
    whole: Bools
    requests: Ints
    makespan: Floats
    ttfat: Floats
    critical_path: Floats
    prefill: Floats
    decode: Floats
    gap: Floats
    lag: Floats
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    reasoning_tokens: Floats
    cache_write_tokens: Floats
    joins: JoinTable
    critical: Bools

    @property
    def tokens(self) -> Floats:
        return self.input_tokens + self.output_tokens

    @property
    def join_straggler(self) -> Floats:
        return self.joins.straggler

    @property
    def join_efficiency(self) -> Floats:
        return self.joins.efficiency


def session_table(table: RecordTable) -> SessionTable:
    """All sessions of these records."""
    n = len(table.names["session"])
    rows = _final_rows(table)
    arrival, end, last = _span(table, rows, n)
    failed = np.bincount(table.session[rows][table.status[rows] == FAILED], minlength=n) > 0
    requests = np.bincount(table.session[rows], minlength=n)
    whole = ~failed & (table.status[last] == OK) & (requests >= _planned(table, n))
    parts, critical = _critical_path(table, last, n)
    return SessionTable(
        n=n,
        index=_indices(table.names["session"], arrival),
        arrival_ns=arrival,
        end_ns=end,
        failed=failed,
        whole=whole,
        requests=requests,
        makespan=np.asarray((end - arrival) * 1e-9, dtype=np.float64),
        ttfat=np.where(table.first_token_ns[last] == UNKNOWN, np.nan, (table.first_token_ns[last] - arrival) * 1e-9),
        critical_path=sum(parts.values(), np.zeros(n)),
        **parts,
        **{f"{kind}_tokens": _tokens(table, kind, n) for kind in _TOKENS},
        joins=join_table(table),
        critical=critical,
    )


def _planned(table: RecordTable, n: int) -> Ints:
    """Requests that the plan gives each session, less those that a join left unsent; -1 where unknown.

    A record knows only what had been left unsent until then, so the smallest figure is the last one.
    """
    told = table.session_requests
    planned = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(planned, table.session[told != UNKNOWN], told[told != UNKNOWN])
    return np.where(planned == np.iinfo(np.int64).max, -1, planned)


def _final_rows(table: RecordTable) -> NDArray[np.intp]:
    """Rows without those that a later attempt at the same request made void."""
    if table.n == 0 or int(table.attempt.max()) <= 1:
        return np.arange(table.n)
    order = np.lexsort((table.attempt, table.node, table.session))
    session, node = table.session[order], table.node[order]
    superseded = (session[:-1] == session[1:]) & (node[:-1] == node[1:])
    return np.sort(order[np.append(~superseded, True)])


def _span(table: RecordTable, rows: NDArray[np.intp], n: int) -> tuple[Ints, Ints, NDArray[np.intp]]:
    """Arrival (of the first root, or of what is left of a cut session), last finish, and its row.

    A cancelled request (the branch a quorum did not wait for) ends a session only where nothing else does.
    """
    session = table.session
    arrival = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(arrival, session, table.intended_ns)
    order = rows[np.lexsort((table.end_ns[rows], table.status[rows] != CANCELLED, session[rows]))]
    last_of = np.flatnonzero(np.append(session[order][1:] != session[order][:-1], True)) if n else np.arange(0)
    last = order[last_of]
    return arrival, table.end_ns[last], last


def _indices(names: list[str], arrival: Ints) -> Ints:
    """The place in the plan, from the id; by order of arrival where ids are not ours."""
    matches = [_INDEX.match(name) for name in names]
    if all(matches):
        return np.array([int(match[1]) for match in matches if match], dtype=np.int64)
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[np.argsort(arrival, kind="stable")] = np.arange(len(names))
    return ranks


def last_parent(table: RecordTable) -> Codes:
    """For each row the dependency that finished last, -1 for roots."""
    parent = np.full(table.n, -1, dtype=np.int32)
    order = np.lexsort((table.end_ns[table.parent], table.child))
    parent[table.child[order]] = table.parent[order]  # of equal children the last assignment stays
    return parent


def _critical_path(table: RecordTable, last: NDArray[np.intp], n: int) -> tuple[dict[str, Floats], Bools]:
    """Walk back from each session's last finisher through the dependency that finished last, all at once.

    The parts of each session's path, and which records lie on one.
    """
    parts = {name: np.zeros(n) for name in _PARTS}
    critical = np.zeros(table.n, dtype=np.bool_)
    parent = last_parent(table)
    chain = np.arange(n)
    row: NDArray[Any] = last
    while len(row):
        before = parent[row]
        critical[row] = True
        start, end, sent = table.intended_ns[row], table.end_ns[row], table.sent_ns[row]
        token = table.first_token_ns[row]
        sent = np.where(sent == UNKNOWN, end, sent)
        token = np.where(token == UNKNOWN, end, token)
        waited = np.where(before < 0, 0, start - table.end_ns[before])
        gap = np.where(before < 0, 0, np.minimum(table.gap_ns[row], np.maximum(waited, 0)))
        parts["gap"][chain] += gap * 1e-9
        parts["lag"][chain] += (sent - start + waited - gap) * 1e-9
        parts["prefill"][chain] += (token - sent) * 1e-9
        parts["decode"][chain] += (end - token) * 1e-9
        chain, row = chain[before >= 0], before[before >= 0]
    return parts, critical


def _tokens(table: RecordTable, kind: str, n: int) -> Floats:
    """Tokens a session; NaN where those of a request that ended well are unknown."""
    values = counts(getattr(table, f"{kind}_tokens"))
    values[np.isnan(values) & (table.status != OK)] = 0.0
    return np.bincount(table.session, weights=values, minlength=n).astype(np.float64)
