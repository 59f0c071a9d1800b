"""One moment of a run in words and figures: what the dashboard, the plain lines and the page all tell.

Every figure is told here once, so that whoever watches sees the same wherever they look. A quantile is told only above
its sample floor, as in the reports.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

from harness.live import told
from harness.live.progress import Metric, Progress
from harness.metrics.quantiles import sample_floor
from harness.records.snapshot import LogHistogram
from harness.units import NS_PER_S, format_duration, format_number, format_share

Word = Literal["ok", "over", "–"]  # an SLO so far; a dash while there are too few samples

_QUANTILE = re.compile(r"^(\w+)\.p(\d+(?:\.\d+)?)$")
_MOST_LATER = 3
DASH: Final = "–"  # where a figure is not told


class Limit(msgspec.Struct, frozen=True):
    """One SLO so far: `ttft`, `p95 < 500 ms`, `ok`."""

    metric: str
    text: str
    word: Word


class Row(msgspec.Struct, frozen=True):
    """A latency: its median over the last few seconds, and its quantiles so far, as text."""

    metric: str
    now: str
    p50: str
    p95: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a run while it goes. Counts have thin separators, figures their unit; foreign text is plain.

    `share` is 0..1, `spark` output tokens a second by the second, oldest first. Empty texts are not told.
    """

    name: str
    target: str
    simulated: bool
    clock: str
    phase: str
    share: float | None
    left: str
    live: tuple[str, ...]
    done: tuple[str, ...]
    failed: str
    failing: bool
    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]
    later: str
    rates: tuple[str, ...]
    spark: tuple[float, ...]
    engine: tuple[str, ...]
    client: tuple[str, ...]
    strained: bool


def moment(progress: Progress) -> Moment:
    """The newest state of a run, told."""
    goal, now = progress.goal, progress.latest
    fine, client = told.client(now.health, progress.ceiling_share)
    metrics = [
        metric for metric in get_args(Metric) if metric != "e2e" or any(n.startswith("e2e.") for n in goal.limits)
    ]
    return Moment(
        name=told.plain(goal.name, 40),
        target=told.plain(goal.target, 80),
        simulated=goal.simulated,
        clock=_clock(progress),
        phase=told.plain(now.phase),
        share=progress.share,
        left=_left(progress),
        live=(f"{told.whole(now.live_sessions)} sessions", f"{told.whole(now.live_requests)} requests"),
        done=(f"{told.whole(now.sessions_done)} sessions", f"{told.whole(now.requests_ok)} requests"),
        failed=told.errors(now),
        failing=now.requests_failed > 0,
        rows=tuple(_row(progress, metric) for metric in metrics),
        limits=_limits(progress),
        later=_later(goal.later),
        rates=(f"{format_number(progress.tokens_per_s)} tok/s", f"{format_number(progress.requests_per_s)} req/s"),
        spark=tuple(progress.spark),
        engine=_engine(progress),
        client=client,
        strained=not fine,
    )


def quantile(histogram: LogHistogram, q: float) -> float | None:
    """The quantile in seconds; None under its sample floor."""
    return histogram.quantile(q) if histogram.total() >= sample_floor(q) else None


def _clock(progress: Progress) -> str:
    time = told.clock(progress.t_ns)
    whole = progress.goal.duration_s
    return f"{time} / {told.clock(whole * NS_PER_S)}" if whole else time


def _left(progress: Progress) -> str:
    if progress.left_s is None or progress.latest.phase == "drain":
        return ""
    seconds = max(1, round(progress.left_s))
    return f"{format_duration(seconds, len(str(seconds)))} left"


def _row(progress: Progress, metric: Metric) -> Row:
    whole: LogHistogram = getattr(progress.latest, metric)
    figures = (quantile(progress.now(metric), 0.5), quantile(whole, 0.5), quantile(whole, 0.95))
    return Row(metric, *(format_duration(value) for value in figures))


def _limits(progress: Progress) -> tuple[Limit, ...]:
    """SLOs whose figure is known while the run goes."""
    limits = []
    for name, limit in progress.goal.limits.items():
        match = _QUANTILE.match(name)
        if match and match[1] in get_args(Metric):
            value = quantile(getattr(progress.latest, match[1]), float(match[2]) / 100)
            limits.append(Limit(match[1], f"p{match[2]} < {format_duration(limit)}", _word(value, limit)))
        elif name == "error_rate":
            text = f"< {format_share(limit)}"
            share = _error_rate(progress)
            limits.append(Limit(name, text if share is None else f"{format_share(share)} {text}", _word(share, limit)))
    return tuple(limits)


def _word(value: float | None, limit: float) -> Word:
    return DASH if value is None else "ok" if value < limit else "over"


def _error_rate(progress: Progress) -> float | None:
    now = progress.latest
    ended = now.requests_ok + now.requests_failed
    return now.requests_failed / ended if ended else None


def _later(slos: tuple[str, ...]) -> str:
    if not slos:
        return ""
    named = [told.plain(text, 40) for text in slos[:_MOST_LATER]]
    return " · ".join([*named, "…"] if len(slos) > _MOST_LATER else named)


def _engine(progress: Progress) -> tuple[str, ...]:
    """What the server's own page says: its queue, its cache. Unknown parts are left out."""
    says = progress.engine
    parts = [f"{told.whole(round(says[name]))} {name}" for name in ("running", "waiting") if name in says]
    if "kv_cache_usage" in says:
        parts.append(f"KV {format_share(says['kv_cache_usage'], 2)}")
    if progress.prefix_hits is not None:
        parts.append(f"prefix hits {format_share(progress.prefix_hits, 2)}")
    return tuple(parts)
