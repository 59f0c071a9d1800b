"""What is told of sessions as jobs: what one takes, reuses and waits for, and the kinds of a mix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.metrics.quantiles import sample_floor
from harness.metrics.session_figures import Amplification, JoinFigures, PrefixReuse
from harness.metrics.summary import KindFigures, SessionFigures, Summary
from harness.report.figures import DASH, amount, clean, figure, interval, whole
from harness.units import format_duration, format_number, format_share

# One request, or people at their own pace: who runs these speaks of sessions. All others are jobs of an agent.
_NO_TASKS = frozenset({"", "chat", "rag", "mix", "replay"})
_WORTH_TELLING = 0.05  # share of prompts that could come from a cache

JOIN_HEAD = (
    *("kind", "fan-out", "joins", "straggler p50", "efficiency p50"),
    *("each branch must meet", "which is", "slowest branch p95"),
)
KIND_HEAD = ("kind", "sessions", "requests", "failed", "makespan p50", "makespan p95", "ttft p50", "ttft p95")


@dataclass(frozen=True)
class Tasks:
    """Empty strings and lists are not told.

    Attributes:
        noun: what a session of this run is called: `task` where it is an agent's job, else `session`.
        takes: requests and tokens of one, on average.
        stragglers: how much of their time went into waiting for slowest branches.
        reuse: prefix reuse: measured, possible, captured.
        joins: a sentence for each fan-out.
        join_rows, kind_rows: the same and the kinds as tables, under `JOIN_HEAD` and `KIND_HEAD`.
        kinds: a line for each kind of a mix, by name.
        slowdown: why it is not known.
    """

    noun: str = "session"
    takes: str = ""
    stragglers: str = ""
    reuse: str = ""
    joins: tuple[str, ...] = ()
    join_rows: tuple[tuple[str, ...], ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()
    kind_rows: tuple[tuple[str, ...], ...] = ()
    slowdown: str = ""


def tasks(summary: Summary, workload: Mapping[str, Any]) -> Tasks:
    """What is told of this run's sessions. `workload` is that of its config, as far as it is known."""
    block = summary.sessions
    if block is None:
        return Tasks(noun=_noun(summary, workload))
    several = (block.amplification.requests or 0) > 1
    noun = _noun(summary, workload)
    return Tasks(
        noun=noun,
        takes=_takes(block.amplification) if several else "",
        stragglers=format_share(block.straggler_share, 2) if block.straggler_share else "",
        reuse=_reuse(block.prefix_reuse),
        joins=tuple(_join(row, block) for row in block.joins),
        join_rows=tuple(_join_row(row) for row in block.joins),
        kinds=tuple((clean(kind.kind, 40), _kind(kind)) for kind in block.kinds),
        kind_rows=tuple(_kind_row(kind) for kind in block.kinds),
        slowdown=f"not known: {block.slowdown.reason}" if several and block.slowdown.reason else "",
    )


def _noun(summary: Summary, workload: Mapping[str, Any]) -> str:
    several = summary.metrics.get("session.requests")
    if several is None or (several.mean or 0) <= 1:
        return "session"
    return "session" if str(workload.get("kind", "")) in _NO_TASKS else "task"


def _takes(told: Amplification) -> str:
    """`9 requests · 2 850 tokens in and 3 970 from the cache · 158 out`."""
    parts = [f"{amount(told.requests, 'count')} requests"]
    if told.cached_input_tokens is not None:
        fresh, held = format_number(told.uncached_input_tokens), format_number(told.cached_input_tokens)
        parts.append(f"{fresh} tokens in, {f'{held} more' if told.cached_input_tokens else 'none'} from the cache")
    elif told.input_tokens is not None:
        parts.append(f"{format_number(told.input_tokens)} tokens in")
    if told.output_tokens is not None:
        parts.append(f"{format_number(told.output_tokens)} out")
    if told.reasoning_tokens:
        parts.append(f"{format_number(told.reasoning_tokens)} of them reasoning")
    return " · ".join(parts)


def _reuse(told: PrefixReuse) -> str:
    """`58.2 % of prompt tokens were cached · 58.6 % could be · 99.2 % captured`."""
    if told.ideal is None and told.measured is None:
        return ""
    possible = "" if told.ideal is None else f"{format_share(told.ideal)} could be"
    if told.measured is None:
        worth = told.ideal is not None and told.ideal >= _WORTH_TELLING
        return f"unknown: {told.reason} · {possible}" if worth else ""
    parts = [f"{format_share(told.measured)} of prompt tokens were cached", possible]
    if told.capture is not None:
        parts.append(f"{format_share(told.capture)} captured")
    return " · ".join(part for part in parts if part)


def _join(row: JoinFigures, block: SessionFigures) -> str:
    """`8 wide: slowest branch 754 ms after the median, efficiency 58 % · for p95 each must meet p99.36: 3.48 s
    (2.94 … 4.08 s)`."""
    who = f"{clean(row.kind, 30)}, " if block.kinds else ""
    text = f"{who}{row.fan_out} wide"
    if row.straggler_p50 is not None:
        text += f": slowest branch {format_duration(row.straggler_p50)} after the median"
    if row.efficiency_p50 is not None:
        text += f", efficiency {format_share(row.efficiency_p50, 2)}"
    tail = f"for their p95 each branch must meet {_level(row)}"
    if row.each is not None:
        tail += f": {format_duration(row.each)}"
        if row.each_ci95:
            tail += f" ({interval(row.each_ci95, 's')})"
    else:
        tail += f" (needs {sample_floor(0.95)} joins, has {row.joins})"
    return f"{text} · {tail}"


def _level(row: JoinFigures) -> str:
    """`p99.36`: as many digits as tell it from 1."""
    percent = row.quantile * 100
    return f"p{percent:.2f}" if percent < 99.9 else f"p{percent:.4g}" if percent < 99.99 else f"p{percent:.6g}"


def _join_row(row: JoinFigures) -> tuple[str, ...]:
    def told(value: float | None, bounds: tuple[float, float] | None) -> str:
        return amount(value, "s") + (f" ({interval(bounds, 's')})" if value is not None and bounds else "")

    return (
        clean(row.kind, 40),
        whole(row.fan_out),
        whole(row.joins),
        amount(row.straggler_p50, "s"),
        amount(row.efficiency_p50, "share"),
        _level(row),
        told(row.each, row.each_ci95),
        told(row.slowest_p95, row.slowest_p95_ci95),
    )


def _percentile(kind: KindFigures, metric: str, quantity: str) -> str:
    stats = kind.metrics.get(metric)
    return DASH if stats is None else figure(stats, quantity).text


def _kind(kind: KindFigures) -> str:
    """`90 sessions · makespan p50 3.1 s · ttft p50 164 ms p95 677 ms`."""
    parts = [f"{whole(kind.sessions)} sessions", f"makespan p50 {_percentile(kind, 'session.makespan', 'p50')}"]
    parts.append(f"ttft p50 {_percentile(kind, 'ttft', 'p50')} p95 {_percentile(kind, 'ttft', 'p95')}")
    if kind.failed:
        parts.append(f"{whole(kind.failed)} requests failed")
    return " · ".join(parts)


def _kind_row(kind: KindFigures) -> tuple[str, ...]:
    counts = (kind.sessions, kind.requests, kind.failed)
    figures = (
        _percentile(kind, metric, quantity) for metric in ("session.makespan", "ttft") for quantity in ("p50", "p95")
    )
    return (clean(kind.kind, 40), *map(whole, counts), *figures)
