"""The page of a sweep: both frontiers, and every point."""

from __future__ import annotations

from collections.abc import Callable

from harness.report.definitions import definitions
from harness.report.figures import amount, clean, count
from harness.report.page import page
from harness.report.scatter import Axis, Point, Scatter
from harness.report.story import Line, Tone
from harness.study.sweep import Point as Ran
from harness.study.sweep import SweepResult
from harness.study.sweep_told import sweep_notes, sweep_rows, told_value

_TONES: dict[int, Tone] = {0: "good", 4: "warn"}
_MOST_NAMES = 40


def sweep_html(result: SweepResult) -> str:
    """The page."""
    charts = {"speed": _speed(result), "cost": _cost(result)}
    charts = {name: chart for name, chart in charts.items() if len(chart.points) > 1}
    head, *rows = sweep_rows(result)
    return page(
        "sweep.html.j2",
        {"scatter": {name: chart.series() for name, chart in charts.items()}},
        name=clean(result.name, 64),
        verdicts=[Line(_TONES.get(result.exit_code, "bad"), _title(result))],
        words=_words(result),
        warnings=[Line("warn", "SIMULATED: says nothing about a real server")] if result.simulated else [],
        paths=result.paths,
        head=head,
        rows=[(row, _out(point)) for row, point in zip(rows, result.points, strict=True)],
        charts=list(charts),
        notes=[clean(note).lstrip("◆·!→ ") for note in sweep_notes(result)],
        definitions=definitions(("interactivity", "ttft", "session.makespan", "session.cost")),
    )


def _title(result: SweepResult) -> str:
    """How many points there are, and how many of them cannot be used."""
    failed = sum(point.state == "failed" for point in result.points)
    invalid = sum(point.state == "done" and not point.counts for point in result.points)
    parts = [f"{number} {word}" for number, word in ((failed, "failed"), (invalid, "invalid")) if number]
    return ", ".join([count(len(result.points), "point"), *parts])


def _words(result: SweepResult) -> str:
    """How many points stand on each frontier, and its ends, in a sentence or two."""
    number = len(result.points)
    parts = []
    if on := [point for point in result.points if point.on_speed_frontier]:
        fast = max(on, key=lambda point: point.interactivity or 0.0)
        most = max(on, key=lambda point: point.output_tokens_per_s or 0.0)
        parts.append(
            f"Speed: {len(on)} of {number} points are beaten by no other, from {_name(result, fast)}"
            f" ({amount(fast.interactivity, 'tokens/s')} to each user) to {_name(result, most)}"
            f" ({amount(most.output_tokens_per_s, 'tokens/s')} in all)."
        )
    if on := [point for point in result.points if point.on_cost_frontier]:
        cheap = min(on, key=lambda point: point.cost_per_session or 0.0)
        quick = min(on, key=lambda point: point.makespan_p50 or 0.0)
        parts.append(
            f"Cost: {len(on)} of {number}, from {_name(result, cheap)}"
            f" ({amount(cheap.cost_per_session, result.currency)} a session) to {_name(result, quick)}"
            f" (median session {amount(quick.makespan_p50, 's')})."
        )
    return " ".join(parts) or "No point can be set on a frontier: the figures of one are missing."


def _name(result: SweepResult, point: Ran) -> str:
    """`concurrency=8, output_tokens=60`."""
    values = zip(result.paths, _values(result, point), strict=True)
    return ", ".join(f"{path.rpartition('.')[2]}={value}" for path, value in values)


def _values(result: SweepResult, point: Ran) -> list[str]:
    return [clean(told_value(point.values[path]), 24) for path in result.paths]


def _out(point: Ran) -> bool:
    """Whether the point is on neither frontier."""
    return not (point.on_speed_frontier or point.on_cost_frontier)


def _speed(result: SweepResult) -> Scatter:
    return Scatter(
        Axis("tokens/s to each user, median (interactivity)", "tokens/s"),
        Axis("output tokens/s in all", "tokens/s"),
        _points(result, lambda p: (p.interactivity, p.output_tokens_per_s), "on_speed_frontier", ("tokens/s", "/s")),
        joined=True,
    )


def _cost(result: SweepResult) -> Scatter:
    units = ("s", result.currency)
    return Scatter(
        Axis("median session (makespan)", "s", log=True),
        Axis("cost per session", result.currency, log=True),
        _points(result, lambda p: (p.makespan_p50, p.cost_per_session), "on_cost_frontier", units),
        joined=True,
    )


def _points(
    result: SweepResult, of: Callable[[Ran], tuple[float | None, float | None]], flag: str, units: tuple[str, str]
) -> list[Point]:
    """Frontier in colour and by name, the dominated greyed, an invalid run marked as one; hollow: an SLO is broken."""
    points = []
    for ran in result.points:
        x, y = of(ran)
        if x is None or y is None:
            continue
        on = bool(getattr(ran, flag))
        points.append(
            Point(
                x=x,
                y=y,
                tone="good" if on else "plain" if ran.counts else "bad",
                name=" · ".join(_values(result, ran)) if on or len(result.points) <= _MOST_NAMES else "",
                told=f"{_name(result, ran)}: {amount(x, units[0])}",
                hollow=any(verdict != "pass" for verdict in ran.slo),
            )
        )
    return points
