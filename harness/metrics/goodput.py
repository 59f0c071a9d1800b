"""Which requests and sessions were good: they succeeded and met all their limits (Zhong et al., DistServe)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np

from harness.metrics.catalogue import METRICS
from harness.metrics.sessions import SessionTable
from harness.metrics.table import OK, Bools, Floats, RecordTable

# An answer of one token has none of these: there is nothing to be late.
_AFTER_FIRST = ("tpot", "interactivity", "max_gap", "stall_time", "connect")


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What one request (or session) must hold, e.g. `ttft <= 0.5`. `labels` select whom it is for."""

    metric: str
    operator: Literal["<", "<=", ">", ">="]
    bound: float
    labels: tuple[tuple[str, str], ...] = ()

    def held_by(self, values: Floats) -> Bools:
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[self.operator]
        held = compare(values, self.bound)
        if self.metric in _AFTER_FIRST:
            held |= np.isnan(values)
        return np.asarray(held)


class Good(msgspec.Struct, frozen=True):
    """By record and by session."""

    requests: Bools
    sessions: Bools


def good(
    table: RecordTable,
    sessions: SessionTable,
    limits: Sequence[Limit],
    row_values: Callable[[str], Floats],
) -> Good | None:
    """Who was good; None where no limit says what good is. Failures and empty answers are misses.

    A good session is whole, holds its own limits, and none of its requests misses one.
    """
    own = [limit for limit in limits if limit.metric in METRICS and METRICS[limit.metric].level == "request"]
    whole = [limit for limit in limits if limit.metric in METRICS and METRICS[limit.metric].level == "session"]
    if not own and not whole:
        return None
    requests = table.status == OK
    for limit in own:
        requests = requests & (limit.held_by(row_values(limit.metric)) | ~table.where(dict(limit.labels)))
    missed = np.bincount(table.session[~requests & (table.status == OK)], minlength=sessions.n) > 0
    kept = sessions.whole & ~missed
    for limit in whole:
        concerned = np.bincount(table.session[table.where(dict(limit.labels))], minlength=sessions.n) > 0
        values = np.asarray(getattr(sessions, METRICS[limit.metric].field), dtype=np.float64)
        kept = kept & (limit.held_by(values) | ~concerned)
    return Good(requests, kept)
