"""A sweep as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import msgspec

from harness.report.comparison import markdown_table, table
from harness.report.figures import amount, clean, inert
from harness.report.markup import escape
from harness.study.sweep import Point, SweepResult
from harness.units import format_number

_FIGURES = (
    *("interactivity", "output_tokens_per_s", "ttft_p50", "ttft_p95", "makespan_p50"),
    *("cost_per_1m_tokens", "cost_per_session"),
)
_LEGEND = (
    "◆ speed: no other point gives both more tokens/s to each user and more tokens/s in all",
    "◆ cost: no other point has both a lower cost per session and a shorter median session",
    "· dominated: another point is at least as good in both and better in one",
)


def sweep_text(result: SweepResult) -> str:
    """Plain text."""
    lines = ["", f" {_head(result)}", "", *table(sweep_rows(result)), "", *(f" {line}" for line in sweep_notes(result))]
    return "\n".join(lines) + "\n"


def sweep_markdown(result: SweepResult) -> str:
    """GitHub's flavour."""
    lines = [f"## {escape(_head(result))}", "", *markdown_table(sweep_rows(result)), ""]
    return "\n".join([*lines, *(f"- {escape(line)}" for line in sweep_notes(result))]) + "\n"


def sweep_csv(result: SweepResult) -> str:
    """RFC 4180, a row a point. Unknown is an empty cell; times in seconds."""
    out = io.StringIO()
    writer = csv.writer(out)
    flags = ("on_speed_frontier", "on_cost_frontier")
    writer.writerow([*result.paths, "state", "verdict", *_FIGURES, *flags, "folder", "error"])
    for point in result.points:
        figures = ["" if (value := getattr(point, name)) is None else value for name in _FIGURES]
        marks = [str(getattr(point, flag)).lower() for flag in flags]
        values = [inert(told_value(point.values[path])) for path in result.paths]
        error = inert(point.error)
        writer.writerow([*values, point.state, point.verdict, *figures, *marks, point.folder, error])
    return out.getvalue()


def _head(result: SweepResult) -> str:
    failed = sum(point.state == "failed" for point in result.points)
    mark = "✓" if result.exit_code == 0 else "✗" if failed else "!"
    return f"{mark} {clean(result.name, 64)}: {len(result.points)} points, {failed} failed   exit {result.exit_code}"


def sweep_rows(result: SweepResult) -> list[list[str]]:
    """A head, and a row a point."""
    head = ["interactivity", "tok/s out", "ttft p50", "ttft p95", "makespan p50", "per 1M tokens", "per session"]
    return [[*result.paths, *head, "frontier"], *(_row(result, point) for point in result.points)]


def _row(result: SweepResult, point: Point) -> list[str]:
    values = [clean(told_value(point.values[path]), 40) for path in result.paths]
    if point.state == "failed":
        return [*values, *[""] * 7, f"✗ failed: {clean(point.error, 80)}"]
    units = ("tokens/s", "", "s", "s", "s", result.currency, result.currency)
    figures = [
        format_number(getattr(point, name)) if not unit else amount(getattr(point, name), unit)
        for name, unit in zip(_FIGURES, units, strict=True)
    ]
    return [*values, *figures, _standing(point)]


def _standing(point: Point) -> str:
    if not point.counts:
        return "✗ invalid: not on a frontier"
    on = [name for name, is_on in (("speed", point.on_speed_frontier), ("cost", point.on_cost_frontier)) if is_on]
    slo = "" if all(verdict == "pass" for verdict in point.slo) else "  (SLO not held)"
    return (f"◆ {' · '.join(on)}" if on else "· dominated") + slo


def sweep_notes(result: SweepResult) -> Iterator[str]:
    """What the marks mean, and what else is to be known."""
    yield from _LEGEND
    if result.simulated:
        yield "! SIMULATED: says nothing about a real server"
    if any(point.state == "failed" for point in result.points):
        yield "→ run the same command again: only what failed or is missing is run"
    yield f"→ all runs lie in {result.folder}"


def told_value(value: object) -> str:
    """A value of the grid, as a config would have it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
