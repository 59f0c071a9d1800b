"""Rates over the measured window: what came out of the server in it, from whichever request, per second."""

from __future__ import annotations

import numpy as np

from harness.metrics.goodput import Good
from harness.metrics.intervals import rate_bounds
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Rates
from harness.metrics.table import FAILED, OK, UNKNOWN, Bools, Floats, Ints, RecordTable, counts
from harness.metrics.window import MEASURE, Window


def rates(
    table: RecordTable, sessions: SessionTable, window: Window, good: Good | None, *, closed: bool, seed: int
) -> tuple[Rates, dict[str, tuple[float, float]]]:
    """The rates, and 95 % intervals of those that have one (block bootstrap over sessions).

    A rate is None where nothing of it fell into the window, though what began there brought some out later: that the
    window is too short to tell is no rate of 0.
    """
    length = window.seconds
    if length <= 0:
        return Rates(), {}
    shares = _shares(table, sessions, window, good)
    for name in _unknown(shares, table, sessions, window):
        del shares[name]
    told = {name: float(share.sum()) / length for name, share in shares.items()}
    live = _live(sessions, window)
    order = np.argsort(sessions.arrival_ns, kind="stable")
    order = order[live[order] > 0]
    # A closed loop holds the number of live sessions, so each stands for the time it held a slot; an open one
    # holds the number of arrivals, so each stands for the same part of the window.
    weight = live[order] if closed else np.ones(len(order))
    weight = weight * (length / weight.sum()) if len(order) else weight
    columns = np.column_stack([*(share[order] for share in shares.values()), np.empty((len(order), 0))])
    bounds = dict(zip(shares, rate_bounds(columns, weight, seed), strict=True)) if shares else {}
    intervals = {_NAMES[name]: _scaled(bound, _SCALE[name]) for name, bound in bounds.items() if bound}
    offered, achieved = session_rates(table, sessions, window)
    figures = Rates(
        **{_NAMES[name]: value * _SCALE[name] for name, value in told.items()},
        offered_sessions_per_s=None if closed else offered,
        achieved_sessions_per_s=achieved,
    )
    return figures, intervals


_NAMES = {
    "output": "output_tokens_per_s",
    "total": "total_tokens_per_s",
    "requests": "requests_per_s",
    "sessions": "sessions_per_hour",
    "good_requests": "goodput_requests_per_s",
    "good_sessions": "goodput_sessions_per_hour",
}
_BY = {"total": "output", "good_requests": "requests", "good_sessions": "sessions"}  # known only with that one
_SCALE = {name: 3600.0 if field.endswith("_per_hour") else 1.0 for name, field in _NAMES.items()}


def _scaled(bound: tuple[float, float], scale: float) -> tuple[float, float]:
    return bound[0] * scale, bound[1] * scale


def _shares(table: RecordTable, sessions: SessionTable, window: Window, good: Good | None) -> dict[str, Floats]:
    """What each session brought out within the window. Token shares are missing where no token is known."""

    def by_session(weights: Floats | Bools) -> Floats:
        return np.bincount(table.session, weights=weights, minlength=sessions.n).astype(np.float64)

    ended = (table.status == OK) & _inside(table.end_ns, window)
    finished = sessions.whole & _inside(sessions.end_ns, window)
    shares: dict[str, Floats] = {}
    if (table.output_tokens != UNKNOWN).any():
        shares["output"] = by_session(delivered(table, window))
        if (table.input_tokens != UNKNOWN).any():
            shares["total"] = shares["output"] + by_session(taken_in(table, window))
    shares["requests"] = by_session(ended)
    shares["sessions"] = finished.astype(np.float64)
    if good is not None:
        shares["good_requests"] = by_session(ended & good.requests)
        shares["good_sessions"] = (finished & good.sessions).astype(np.float64)
    return shares


def _unknown(shares: dict[str, Floats], table: RecordTable, sessions: SessionTable, window: Window) -> list[str]:
    """The shares that are nothing only because the window shut before anything came out."""
    begun = (window.phases == MEASURE) & (table.status != FAILED)
    came = {
        "output": (begun & (table.output_tokens > 0)).any(),
        "requests": begun.any(),
        "sessions": (window.counted & ~sessions.failed & _inside(sessions.arrival_ns, window)).any(),
    }
    lost = {name for name, some in came.items() if some and name in shares and not shares[name].any()}
    return [name for name in shares if _BY.get(name, name) in lost]


def delivered(table: RecordTable, window: Window) -> Floats:
    """Output tokens that arrived within the window, by row and by the stamps of their events.

    Where the tokens of events are not known, the request's tokens are spread evenly over its events; where there
    are no events (the answer was not streamed) they arrive with its last token.
    """
    sent = np.where(table.sent_ns == UNKNOWN, 0, table.sent_ns)
    output = np.nan_to_num(counts(table.output_tokens))
    chunks = table.chunks
    each = np.divide(output, chunks, out=np.zeros(table.n), where=chunks > 0)
    result = np.zeros(table.n)
    for events in table.events():
        row = events.row
        inside = _inside(sent[row] + events.us * 1000, window)
        tokens = np.where(table.tokens_known[row], events.tokens, each[row])
        kept = np.bincount(row - events.first, weights=tokens * inside, minlength=events.last - events.first)
        result[events.first : events.last] = kept
    whole = (chunks == 0) & _inside(_finish(table), window)
    result[whole] = output[whole]
    return result


def taken_in(table: RecordTable, window: Window) -> Floats:
    """Input tokens by row, counted at the first token: that is when the prompt has been read."""
    when = np.where(table.first_token_ns == UNKNOWN, table.end_ns, table.first_token_ns)
    return np.asarray(np.nan_to_num(counts(table.input_tokens)) * _inside(when, window), dtype=np.float64)


def session_rates(table: RecordTable, sessions: SessionTable, window: Window) -> tuple[float | None, float | None]:
    """Session arrivals a second that the plan wanted in the window, and at which rate they were truly sent.

    Achieved / offered is the time between the first and the last arrival over the time between their sends: free
    of what happens at the window's edges, and below 1 only where sends fall behind more and more.
    """
    arrived = np.flatnonzero(_inside(sessions.arrival_ns, window))
    sent = table.sent_ns != UNKNOWN
    first = np.full(sessions.n, np.iinfo(np.int64).max)
    np.minimum.at(first, table.session[sent], table.sent_ns[sent])
    arrived = arrived[first[arrived] != np.iinfo(np.int64).max]
    if len(arrived) < 2 or window.seconds <= 0:
        return None, None
    offered = len(arrived) / window.seconds
    planned = int(np.ptp(sessions.arrival_ns[arrived]))
    truly = int(np.ptp(first[arrived]))
    return offered, offered * (planned / truly if truly > 0 else 1.0)


def _live(sessions: SessionTable, window: Window) -> Floats:
    """Seconds of the window during which each session was live."""
    begin = np.maximum(sessions.arrival_ns, window.start_ns)
    live = np.minimum(sessions.end_ns, window.end_ns) - begin
    return np.asarray(np.maximum(live, 0) * 1e-9, dtype=np.float64)


def _finish(table: RecordTable) -> Ints:
    return np.where(table.last_token_ns == UNKNOWN, table.end_ns, table.last_token_ns)


def _inside(stamps: Ints, window: Window) -> Bools:
    return np.asarray((stamps >= window.start_ns) & (stamps <= window.end_ns))
