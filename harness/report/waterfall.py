"""The waterfall of one session: its requests on its own time axis, as bars of an SVG drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.metrics.table import FAILED, UNKNOWN
from harness.report.figures import clean
from harness.units import NS_PER_S, format_duration

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

MOST_ROWS = 40
WIDTH = 1000.0
LABEL = 150.0
RIGHT = 30.0
ROW = 18.0


@dataclass(frozen=True)
class Bar:
    """A stretch of one request: `kind` is lag, prefill, decode or failed; `x` and `width` in drawing units."""

    kind: str
    x: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    """One request."""

    label: str
    y: float
    bars: list[Bar]


@dataclass(frozen=True)
class Waterfall:
    """A session: which one, how long it took, its lanes in order of time, the ticks of its axis."""

    title: str
    session: str
    makespan: str
    lanes: list[Lane]
    ticks: list[tuple[float, str]]
    height: float
    left_out: int


def waterfalls(analysis: Analysis) -> list[Waterfall]:
    """The median, the p95 and the slowest of the measured sessions, each once. None where all are single requests."""
    sessions = analysis.sessions
    chosen = np.flatnonzero(analysis.samples.sessions)
    if not len(chosen) or int(sessions.requests[chosen].max()) < 2:
        return []
    order = chosen[np.argsort(sessions.makespan[chosen], kind="stable")]
    drawn: dict[int, str] = {}
    for name, share in (("Median session", 0.5), ("p95 session", 0.95), ("Slowest session", 1.0)):
        place = int(order[round(share * (len(order) - 1))])
        drawn.setdefault(place, name)
    return [_draw(analysis, place, name) for place, name in drawn.items()]


def _draw(analysis: Analysis, session: int, title: str) -> Waterfall:
    table, sessions = analysis.table, analysis.sessions
    rows = np.flatnonzero(table.session == session)
    rows = rows[np.lexsort((table.end_ns[rows], table.intended_ns[rows]))]
    begin = int(sessions.arrival_ns[session])
    length = max(1, int(table.end_ns[rows].max()) - begin)
    scale = (WIDTH - LABEL - RIGHT) / length
    shown = rows[:MOST_ROWS]
    lanes = []
    for number, row in enumerate(shown.tolist()):
        label = clean(table.names["node"][int(table.node[row])], 22)
        lanes.append(Lane(label, number * ROW, _bars(analysis, row, begin, scale)))
    return Waterfall(
        title=title,
        session=clean(table.names["session"][session], 40),
        makespan=format_duration(float(sessions.makespan[session])),
        lanes=lanes,
        ticks=[(LABEL + second * NS_PER_S * scale, _round(second)) for second in _ticks(length)],
        height=len(shown) * ROW + 22,
        left_out=len(rows) - len(shown),
    )


def _bars(analysis: Analysis, row: int, begin: int, scale: float) -> list[Bar]:
    """Intended start, sent, first token, end; an unknown stamp falls on the next one that is known."""
    table = analysis.table
    end = int(table.end_ns[row])
    token, sent = int(table.first_token_ns[row]), int(table.sent_ns[row])
    token = end if token == UNKNOWN else token
    sent = token if sent == UNKNOWN else sent
    stamps = (int(table.intended_ns[row]), sent, token, end)
    failed = int(table.status[row]) == FAILED
    bars = []
    for kind, start, stop in zip(("lag", "prefill", "decode"), stamps, stamps[1:], strict=False):
        if stop > start:
            words = {"lag": "waited to be sent", "prefill": "queue and prefill", "decode": "decode"}[kind]
            x = LABEL + (start - begin) * scale
            told = f"{words} {format_duration((stop - start) / NS_PER_S)}"
            bars.append(
                Bar("failed" if failed else kind, round(x, 1), round(max(0.8, (stop - start) * scale), 1), told)
            )
    return bars


def _round(second: float) -> str:
    """A round instant: `0 s`, `2.5 s`, `200 ms`."""
    return f"{second:.4g} s" if second >= 1 or not second else f"{second * 1e3:.4g} ms"


def _ticks(length_ns: int) -> list[float]:
    """About six round instants in seconds, 0 first."""
    length = length_ns / NS_PER_S
    power = 10.0 ** np.floor(np.log10(length / 6))
    step = next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= length / 6)
    return [number * step for number in range(int(length / step) + 1)]
