"""Joins, from records alone: requests that waited for two or more, and the branches they waited for.

A branch is the chain of requests back to the fork: for one call that call, for a sub-agent of several steps all of
them. It took the time from its first request's being ready to its last one's end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.table import Bools, Codes, Floats, Ints, RecordTable

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTable:
    """One entry a join, and one a branch. Times in seconds.

    Attributes:
        row: the record of the request that waited.
        session: its session's code.
        width: how many branches it waited for.
        longest: time of the slowest branch; `straggler` less that of the median one.
        efficiency: sum of all branches / (width x the slowest).
        slowest: the last record of the slowest branch.
        branch_join: by branch, the place of its join in the arrays above.
        branch_ready_ns, branch_took: by branch, when it was ready and how long it took.
    """

    row: Codes
    session: Codes
    width: Ints
    longest: Floats
    straggler: Floats
    efficiency: Floats
    slowest: Codes
    branch_join: Rows
    branch_ready_ns: Ints
    branch_took: Floats

    def of(self, sessions: Bools) -> Bools:
        """The joins of these sessions."""
        return np.asarray(sessions[self.session], dtype=np.bool_)


def join_table(table: RecordTable) -> JoinTable:
    """All joins of these records, in the order of the rows that waited."""
    width = np.bincount(table.child, minlength=table.n)
    at_join = width[table.child] >= 2
    child, parent = table.child[at_join], table.parent[at_join]
    ready = table.intended_ns[_branch_start(table)[parent]]
    took = np.asarray((table.end_ns[parent] - ready) * 1e-9, dtype=np.float64)
    order = np.lexsort((took, child))
    took, child, parent, ready = took[order], child[order], parent[order], ready[order]
    starts = np.append(True, child[1:] != child[:-1]) if len(child) else np.empty(0, dtype=np.bool_)
    first = np.flatnonzero(starts)
    wide = np.diff(np.append(first, len(child)))
    longest = took[first + wide - 1]
    median = (took[first + (wide - 1) // 2] + took[first + wide // 2]) / 2
    total = np.add.reduceat(took, first) if len(first) else np.empty(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        efficiency = total / (wide * longest)
    return JoinTable(
        row=child[first],
        session=table.session[child[first]],
        width=wide.astype(np.int64),
        longest=longest,
        straggler=longest - median,
        efficiency=efficiency,
        slowest=parent[first + wide - 1],
        branch_join=np.cumsum(starts) - 1,
        branch_ready_ns=ready,
        branch_took=took,
    )


def _branch_start(table: RecordTable) -> Rows:
    """For each row the first request of its branch: back along single parents with a single child, to the fork."""
    parents = np.bincount(table.child, minlength=table.n)
    children = np.bincount(table.parent, minlength=table.n)
    start = np.arange(table.n)
    link = (parents[table.child] == 1) & (children[table.parent] == 1)
    start[table.child[link]] = table.parent[link]
    while True:  # pointer doubling: the logarithm of the longest branch
        further = np.take(start, start)
        if np.array_equal(further, start):
            return start
        start = further
