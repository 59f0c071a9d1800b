"""The page of an A/B test: the ratio of every metric with its interval, and every pair behind it."""

from __future__ import annotations

import math
from pathlib import PurePath

from harness.judge.paired import Measured
from harness.report import paired
from harness.report.definitions import definitions
from harness.report.figures import DASH, amount, clean
from harness.report.forest import Axis, Bar
from harness.report.page import page
from harness.report.scatter import Axis as Plane
from harness.report.scatter import Point, Rule, Scatter
from harness.report.story import Line, Tone
from harness.study.ab import AbResult
from harness.study.told import ab_notes
from harness.units import format_share

_TONES: dict[int, Tone] = {0: "good", 12: "warn"}
_VERDICTS: dict[str, Tone] = {"regression": "bad", "same": "good", "inconclusive": "warn", "unknown": "plain"}


def ab_html(result: AbResult) -> str:
    """The page."""
    measured = paired.ordered(result.metrics)
    gated = [one for one in measured if one.gated]
    axis = Axis.over(one.change for one in measured)
    charts = {one.term: _pairs(one, result.margin) for one in gated if _ratios(one)}
    _, _, verdict = paired.verdict(result.exit_code).partition(" ")
    tone = _TONES.get(result.exit_code, "bad")
    return page(
        "ab.html.j2",
        {"scatter": {name: chart.series() for name, chart in charts.items()}},
        title=f"{clean(result.candidate, 64)} against {clean(result.base, 64)}",
        verdicts=[Line(tone, verdict)],
        words=" ".join(_words(one, result.margin) for one in gated),
        warnings=[Line("warn", "SIMULATED: says nothing about a real server")] if result.simulated else [],
        rows=[(one.term, *_row(one, axis)) for one in measured],
        reasons=any(one.reason for one in measured),
        axis=axis,
        margins={one.term: axis.place(_worst(one, result.margin)) for one in measured},
        margin=format_share(result.margin),
        charts=list(charts),
        pairs_head=["pair", "seed", "first", *(one.term for one in gated), "base", "candidate"],
        pairs=_listed(result, gated),
        differences=[clean(difference.told()) for difference in result.differences],
        notes=[clean(note) for note in ab_notes(result)],
        definitions=definitions(dict.fromkeys(one.term.rpartition(".")[0] for one in measured)),
    )


def _words(one: Measured, margin: float) -> str:
    """The verdict on a gated metric, as a sentence."""
    _, _, change, verdict, _, reason = paired.row(one)
    told = f"{one.term}: {change}, margin {format_share(margin)}, {verdict[2:]}."
    return f"{told} {clean(reason)}." if reason else told


def _row(one: Measured, axis: Axis) -> tuple[list[str], Bar | None, Tone]:
    return paired.row(one)[1:], axis.bar(one.change, _ratios(one)), _VERDICTS[one.verdict]


def _ratios(one: Measured) -> list[float]:
    """Candidate by base of every pair that tells it."""
    known = [(pair.base, pair.candidate) for pair in one.pairs]
    return [new / old for old, new in known if old is not None and new is not None and old > 0 and new > 0]


def _worst(one: Measured, margin: float) -> float:
    """The ratio at which the candidate is worse by the margin."""
    return 1 + margin if one.better == "lower" else 1 / (1 + margin)


def _pairs(one: Measured, margin: float) -> Scatter:
    """The change in every pair, in the order of the pairs."""
    points = []
    for number, pair in enumerate(one.pairs, 1):
        if pair.base and pair.candidate:
            told = f"pair {number}: {amount(pair.base, one.unit)} → {amount(pair.candidate, one.unit)}"
            points.append(Point(x=number, y=pair.candidate / pair.base - 1, tone="mark", told=told))
    rules = [Rule("same", "plain", y=0.0)]
    if margin > 0:
        rules.append(Rule(f"margin {format_share(margin)}", "warn", y=_worst(one, margin) - 1))
    if one.change is not None and math.isfinite(one.change.value):
        rules.append(Rule("mean", "mark", y=one.change.value - 1))
    return Scatter(Plane("pair", whole=True), Plane("candidate to base", "share"), points, rules)


def _listed(result: AbResult, gated: list[Measured]) -> list[list[str]]:
    """A row a pair: who went first, the figures of the gated metrics, and where the runs lie."""
    rows = []
    for number, run in enumerate(result.runs):
        figures = []
        for one in gated:
            pair = one.pairs[number] if number < len(one.pairs) else None
            both = None if pair is None else (pair.base, pair.candidate)
            figures.append(DASH if both is None else " → ".join(amount(value, one.unit) for value in both))
        places = [PurePath(place).name for place in (run.base, run.candidate)]
        rows.append([str(number + 1), str(run.seed), run.first, *figures, *places])
    return rows
