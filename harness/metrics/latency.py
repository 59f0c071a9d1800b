"""Latency of requests, from stamps of one monotonic clock. Every function gives seconds by row, NaN where a stamp
is missing. Definitions as in `docs/metrics.md`, which prints them beside those of other tools.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.metrics.table import Bools, Codes, Floats, RecordTable, counts, seconds

STALL_S = 0.2
STALL_MEDIANS = 5.0


def ttft(table: RecordTable) -> Floats:
    """First event with generated output of any kind - sent."""
    return seconds(table.first_token_ns, table.sent_ns)


def ttfo(table: RecordTable) -> Floats:
    """First event with output that is not reasoning - sent."""
    return seconds(table.first_output_ns, table.sent_ns)


def e2e(table: RecordTable) -> Floats:
    """Last event with output - sent."""
    return seconds(table.last_token_ns, table.sent_ns)


def ttft_intended(table: RecordTable) -> Floats:
    """First token - intended start: what a user feels, our own lateness included."""
    return seconds(table.first_token_ns, table.intended_ns)


def e2e_intended(table: RecordTable) -> Floats:
    """Last token - intended start."""
    return seconds(table.last_token_ns, table.intended_ns)


def queue_lag(table: RecordTable) -> Floats:
    """Sent - intended start."""
    return seconds(table.sent_ns, table.intended_ns)


def connect(table: RecordTable) -> Floats:
    """TCP + TLS time, where a new connection was made."""
    return counts(table.connect_ns) * 1e-9


def tpot(table: RecordTable) -> Floats:
    """(e2e - ttft) / (N - k) with k tokens in the first event, 1 where unknown; NaN where N <= k."""
    first = np.ones(table.n)
    known = table.tokens_known & (table.chunks > 0)
    first[known] = np.maximum(table.chunk_tokens[table.chunk_from[:-1][known]], 1)
    later = counts(table.output_tokens) - first
    later[later <= 0] = np.nan
    return seconds(table.last_token_ns, table.first_token_ns) / later


def interactivity(table: RecordTable) -> Floats:
    """1 / tpot: tokens a second for one user."""
    pace = tpot(table)
    pace[pace <= 0] = np.nan
    return 1 / pace


def itl(table: RecordTable, rows: Bools) -> NDArray[np.float32]:
    """Gaps between successive output events of these rows, in order of time.

    Where the tokens of each event are known, its gap is spread over them (m tokens after g seconds: m gaps of
    g / m; an event without a whole token adds its gap to the next).
    """
    gaps, whens = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=np.int64)]
    for events in table.events():
        kept = rows[events.row] & ~(table.tokens_known[events.row] & (events.tokens == 0))
        row, us = events.row[kept], events.us[kept]
        same = row[1:] == row[:-1]
        gap = np.maximum(np.diff(us)[same], 0)
        tokens = np.maximum(events.tokens[kept][1:][same], 1)
        gaps.append(np.repeat((gap * 1e-6 / tokens).astype(np.float32), tokens))
        whens.append(np.repeat(table.sent_ns[row[1:][same]] // 1000 + us[1:][same], tokens))
    order = np.argsort(np.concatenate(whens), kind="stable")
    del whens
    return np.concatenate(gaps)[order]


def max_gap(table: RecordTable) -> Floats:
    """The largest gap between two output events; NaN below two."""
    result = np.full(table.n, np.nan)
    for gap, rows, first in _gaps(table):
        result[rows] = np.maximum.reduceat(gap, first) * 1e-6
    return result


def stall_time(table: RecordTable) -> Floats:
    """Sum of gaps > max(200 ms, 5 x the request's median gap); NaN below two output events."""
    result = np.full(table.n, np.nan)
    for gap, rows, first in _gaps(table):
        result[rows] = 0.0
        for place in np.flatnonzero(np.maximum.reduceat(gap, first) > STALL_S * 1e6):
            end = first[place + 1] if place + 1 < len(first) else len(gap)
            own = gap[first[place] : end]
            stalls = own[own > max(STALL_S * 1e6, STALL_MEDIANS * float(np.median(own)))]
            result[rows[place]] = stalls.sum() * 1e-6
    return result


def fluidity(table: RecordTable, first_s: float, next_s: float) -> Floats:
    """Share of tokens on time when token j is due at first_s + j next_s: unused slack is carried over (Agrawal et
    al., Etalon). An event whose tokens are unknown counts as one.
    """
    result = np.full(table.n, np.nan)
    for events in table.events():
        row = events.row - events.first
        tokens = np.where(table.tokens_known[events.row], events.tokens, 1).astype(np.int64)
        through = np.cumsum(tokens)
        before_row = np.append(0, through)[
            table.chunk_from[events.first : events.last] - table.chunk_from[events.first]
        ]
        upto = through - before_row[row]  # tokens of the request when this event has come
        on_time_from = np.ceil((events.us * 1e-6 - first_s) / next_s - 1e-9)  # the first token not yet due
        good = np.clip(upto - np.maximum(on_time_from, 0), 0, tokens)
        rows = events.last - events.first
        total = np.bincount(row, weights=tokens, minlength=rows).astype(np.float64)
        total[total == 0] = np.nan
        result[events.first : events.last] = np.bincount(row, weights=good, minlength=rows) / total
    return result


def _gaps(table: RecordTable) -> Iterator[tuple[NDArray[np.int64], Codes, NDArray[np.intp]]]:
    """Block by block: all gaps in us, the rows that have any, and where each row's begin."""
    for events in table.events():
        same = events.row[1:] == events.row[:-1]
        if same.any():
            of = events.row[1:][same]
            first = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
            yield np.maximum(np.diff(events.us)[same], 0), of[first], first
