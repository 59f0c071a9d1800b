"""The series behind the charts: quantile bands and sums in bins, a few hundred points whatever the run's size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.metrics.samples import Values
from harness.metrics.steady import in_flight
from harness.metrics.summary import MetricStats
from harness.metrics.table import OK, UNKNOWN, Bools, Floats, counts
from harness.units import NS_PER_S

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

TIME_BINS = 120
_CDF_POINTS = 240
_LENGTH_BINS = 24
_SESSION_BINS = 80
PARTS = ("lag", "prefill", "decode", "gap")  # of a critical path, as they are stacked
_FEWEST = 5  # requests without which a bin of prompt lengths has no band
_MARKED = ("p50", "p95", "p99")

Series = list[float | None]


def distributions(analysis: Analysis, metrics: list[str]) -> dict[str, Any] | None:
    """Cumulative shares of the values of each metric over one logarithmic time axis; marks from the summary."""
    samples = {name: analysis.samples.values(name) for name in metrics}
    return _curves(samples, {name: analysis.summary.metrics.get(name) for name in metrics})


def overlaid(runs: Mapping[str, Analysis], metric: str) -> dict[str, Any] | None:
    """The same for one metric of several runs, by their labels."""
    samples = {label: run.samples.values(metric) for label, run in runs.items()}
    return _curves(samples, {label: run.summary.metrics.get(metric) for label, run in runs.items()})


def _curves(samples: Mapping[str, Values], stats: Mapping[str, MetricStats | None]) -> dict[str, Any] | None:
    known = {name: np.sort(values[values > 0]) for name, values in samples.items()}
    known = {name: values for name, values in known.items() if len(values)}
    if not known:
        return None
    low = min(float(values[0]) for values in known.values())
    high = max(float(values[-1]) for values in known.values())
    grid = np.geomspace(low * 0.9, high * 1.1, _CDF_POINTS)
    curves = {name: np.searchsorted(values, grid, side="right") / len(values) for name, values in known.items()}
    return {
        "x": told(grid),
        "series": {name: told(curve, 4) for name, curve in curves.items()},
        "marks": {name: [] if (found := stats[name]) is None else _marks(found) for name in known},
    }


def _marks(stats: MetricStats) -> list[tuple[str, float, float]]:
    """Quantile, value, share."""
    values = ((name, getattr(stats, name), float(name[1:]) / 100) for name in _MARKED)
    return [(name, value, share) for name, value, share in values if value is not None]


def over_time(analysis: Analysis, most: int = TIME_BINS) -> dict[str, Any] | None:
    """Bands of ttft and tpot by time of sending, output tokens a second, requests in flight; the whole load."""
    edges = time_edges(analysis, most)
    if edges is None:
        return None
    table = analysis.table
    sent = table.sent_ns != UNKNOWN
    starts = table.sent_ns[sent] / NS_PER_S
    ends = np.maximum(table.end_ns[sent] / NS_PER_S, starts)
    good = sent & (table.status == OK)
    when = table.sent_ns[good] / NS_PER_S
    ttft, tpot = (analysis.samples.by_row(name)[good] for name in ("ttft", "tpot"))
    series = {f"ttft_{name}": line for name, line in bands(when, ttft, edges).items()}
    series |= {f"tpot_{name}": line for name, line in bands(when, tpot, edges).items()}
    known = bool((table.output_tokens != UNKNOWN).any())
    output = _output(analysis, edges) / np.diff(edges)
    series["output_tokens_per_s"] = told(output) if known else [None] * len(output)
    series["in_flight"] = told(in_flight(starts, ends, edges))
    window = analysis.window
    return {
        "x": told((edges[:-1] + edges[1:]) / 2, 5),
        "series": series,
        "window": [window.start_ns / NS_PER_S, window.end_ns / NS_PER_S],
        "bin_s": float(edges[1] - edges[0]),
    }


def time_edges(analysis: Analysis, most: int = TIME_BINS) -> Floats | None:
    """The bins of all charts over time, in seconds from the start of the load; None where nothing was sent."""
    table = analysis.table
    end = float(table.end_ns.max()) / NS_PER_S if table.n else 0.0
    return _edges(end, most) if end > 0 and bool((table.sent_ns != UNKNOWN).any()) else None


def over_critical_paths(analysis: Analysis, most: int = _SESSION_BINS) -> dict[str, Any] | None:
    """The measured sessions by length of their critical path, in at most `most` groups of equal size: the mean of each
    part in each group. None where all sessions are single requests, or there are too few to draw."""
    sessions = analysis.sessions
    chosen = np.flatnonzero(analysis.samples.sessions)
    if len(chosen) < 3 or int(sessions.requests[chosen].max()) < 2:
        return None
    order = chosen[np.argsort(sessions.critical_path[chosen], kind="stable")]
    groups = np.array_split(order, min(most, len(order)))
    middles = np.cumsum([len(group) for group in groups]) - np.array([len(group) for group in groups]) / 2
    lines = {part: np.array([getattr(sessions, part)[group].mean() for group in groups]) for part in PARTS}
    shown = {part: told(line) for part, line in lines.items() if line.max() > 0}
    return {"x": told(middles / len(order)), "series": shown} if shown else None


def by_prompt_length(analysis: Analysis) -> dict[str, Any] | None:
    """Bands of ttft by prompt length, measured requests only; None where the lengths do not differ enough."""
    tokens = counts(analysis.table.input_tokens)
    chosen: Bools = analysis.samples.rows & (tokens > 0)
    if not chosen.any():
        return None
    low, high = float(tokens[chosen].min()), float(tokens[chosen].max())
    if high < low * 1.5:
        return None
    edges = np.geomspace(low, high * 1.0001, _LENGTH_BINS + 1)
    lines = bands(tokens[chosen], analysis.samples.by_row("ttft")[chosen], edges, fewest=_FEWEST)
    middles = np.sqrt(edges[:-1] * edges[1:])
    kept = [place for place, value in enumerate(lines["p50"]) if value is not None]
    if len(kept) < 3:
        return None
    series = {f"ttft_{name}": [line[place] for place in kept] for name, line in lines.items()}
    return {"x": told(middles[kept]), "series": series}


def bands(where: Floats, values: Floats, edges: Floats, fewest: int = 1) -> dict[str, Series]:
    """p5, p50 and p95 of the values in each bin; None in bins with fewer than `fewest`."""
    place = np.searchsorted(edges, where, side="right") - 1
    known = (place >= 0) & (place < len(edges) - 1) & ~np.isnan(values)
    place, values = place[known], values[known]
    order = np.lexsort((values, place))
    place, values = place[order], values[order]
    first = np.searchsorted(place, np.arange(len(edges)))
    lines: dict[str, Series] = {"p5": [], "p50": [], "p95": []}
    for begin, end in pairwise(first):
        enough = end - begin >= fewest
        told_here = np.quantile(values[begin:end], (0.05, 0.5, 0.95)) if enough else (None, None, None)
        for line, value in zip(lines.values(), told_here, strict=True):
            line.append(None if value is None else _short(float(value), 4))
    return lines


def _edges(end: float, most: int) -> Floats:
    """Equal bins of a round width, at most `most` of them."""
    width = end / most
    power = 10.0 ** np.floor(np.log10(width))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= width * 0.9999)
    return np.asarray(np.arange(int(np.ceil(end / step)) + 1) * float(step), dtype=np.float64)


def _output(analysis: Analysis, edges: Floats) -> Floats:
    """Output tokens that arrived in each bin, by the stamps of their events, as `delivered` counts them."""
    table = analysis.table
    sent = np.where(table.sent_ns == UNKNOWN, 0, table.sent_ns)
    output = np.nan_to_num(counts(table.output_tokens))
    chunks = table.chunks
    each = np.divide(output, chunks, out=np.zeros(table.n), where=chunks > 0)
    whole = (chunks == 0) & (output > 0)
    finish = np.where(table.last_token_ns == UNKNOWN, table.end_ns, table.last_token_ns) / NS_PER_S
    sums = np.zeros(len(edges) - 1)
    for events in table.events():
        tokens = np.where(table.tokens_known[events.row], events.tokens, each[events.row])
        sums += np.histogram(sent[events.row] / NS_PER_S + events.us * 1e-6, edges, weights=tokens)[0]
    more, _ = np.histogram(finish[whole], edges, weights=output[whole])
    return np.asarray(sums + more, dtype=np.float64)


def told(values: Any, digits: int = 4) -> Series:
    """Short numbers for the page: a chart shows no more than four digits."""
    return [None if np.isnan(value) else _short(float(value), digits) for value in values]


def _short(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
