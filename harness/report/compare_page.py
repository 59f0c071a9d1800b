"""The page of a comparison: ratios with intervals, distributions laid over each other, and what else differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.judge.comparison import Change, Comparison, Row, Versus
from harness.judge.slo import Estimate
from harness.judge.subject import Subject
from harness.report import charts, comparison
from harness.report.definitions import definitions
from harness.report.figures import DASH, Figure, amount, clean, count, interval, spread
from harness.report.forest import Axis, Bar
from harness.report.page import page
from harness.report.story import Line, Tone

_TONES: dict[Change, Tone] = {"better": "good", "worse": "bad", "changed": "plain", "unclear": "plain"}
_CURVES = ("ttft_intended", "ttft", "tpot", "e2e", "session.makespan")
_MOST_CURVES = 6


@dataclass(frozen=True)
class Against:
    """A run against the first, in one figure."""

    change: str
    tone: Tone
    words: str
    bar: Bar | None


def html(found: Comparison, subjects: Sequence[Subject] = ()) -> str:
    """The page. `subjects` are those compared: distributions are drawn of those whose records are at hand."""
    axis = Axis.over(versus.ratio for row in found.rows for versus in row.versus)
    cdfs = _cdfs(found, subjects)
    return page(
        "compare.html.j2",
        {"cdfs": cdfs},
        title=" vs ".join(clean(run.name, 64) for run in found.runs),
        verdicts=_verdicts(found),
        words=f"{count(len(found.runs), 'run')}, {count(len(found.rows), 'figure')}; all changes are against A.",
        warnings=[Line("warn", text) for text in comparison.warnings(found)],
        runs=_runs(found),
        labels=[run.label for run in found.runs],
        rows=[(row.term, *_cells(row, axis)) for row in found.rows],
        axis=axis,
        cdfs=list(cdfs),
        tables=list(comparison.tables(found)),
        differences=_differences(found),
        notes=list(comparison.notes(found)),
        definitions=definitions(dict.fromkeys(row.term.rpartition(".")[0] for row in found.rows)),
    )


def _verdicts(found: Comparison) -> list[Line]:
    """How many figures of each run are shown to be better or worse than those of the first."""
    lines = []
    for place, run in enumerate(found.runs[1:]):
        changes = [row.versus[place].change for row in found.rows]
        better, worse = changes.count("better"), changes.count("worse")
        parts = [f"{number} {word}" for number, word in ((better, "better"), (worse, "worse")) if number]
        tone: Tone = "warn" if better and worse else "good" if better else "bad" if worse else "plain"
        told = ", ".join(parts) or ("no difference shown" if changes else "not compared")
        lines.append(Line(tone, f"{run.label} to A: {told}"))
    return lines


def _runs(found: Comparison) -> list[tuple[str, ...]]:
    return [
        (
            run.label,
            clean(run.name, 64),
            clean(run.engine, 60),
            str(run.seed),
            clean(run.verdict, 60),
            clean(run.source),
        )
        for run in found.runs
    ]


def _cells(row: Row, axis: Axis) -> tuple[list[Figure], list[Against]]:
    return [_figure(found, row.unit) for found in row.figures], [_against(versus, axis) for versus in row.versus]


def _figure(found: Estimate, unit: str) -> Figure:
    if found.value is None:
        return Figure(DASH, note=clean(found.reason, 60))
    ends = comparison.bounds(found)
    half = spread(found.value, ends, unit) if ends else ""
    return Figure(amount(found.value, unit), half, interval(ends, unit), value=found.value)


def _against(versus: Versus, axis: Axis) -> Against:
    words = comparison.MARKS.get(versus.change, "")
    if versus.effect:
        words += f"{', ' if words else ''}{versus.effect} effect"
    return Against(comparison.change(versus.ratio), _TONES.get(versus.change, "plain"), words, axis.bar(versus.ratio))


def _cdfs(found: Comparison, subjects: Sequence[Subject]) -> dict[str, Any]:
    """The curves of each metric by label, where two runs at least have them."""
    named = zip((run.label for run in found.runs), subjects, strict=False)
    runs = {label: subject.analysis for label, subject in named if subject.analysis is not None}
    runs = dict(list(runs.items())[:_MOST_CURVES])
    shown = {row.term.rpartition(".")[0] for row in found.rows}
    drawn = {metric: charts.overlaid(runs, metric) for metric in _CURVES if metric in shown}
    return {metric: curves for metric, curves in drawn.items() if curves and len(curves["series"]) > 1}


def _differences(found: Comparison) -> list[tuple[str, list[str]]]:
    return [
        (run.label, [clean(difference.told()) for difference in listed])
        for run, listed in zip(found.runs[1:], found.differences, strict=True)
    ]
