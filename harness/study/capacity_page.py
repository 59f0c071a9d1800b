"""The page of a capacity search: the answer, how the search came to it, and the SLO figures along the load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from harness.judge.expression import parse
from harness.judge.look import Held
from harness.metrics.summary import SloResult
from harness.report.definitions import definitions
from harness.report.figures import amount, clean, interval
from harness.report.money import cost, cost_rows
from harness.report.page import page
from harness.report.scatter import Axis, Point, Rule, Scatter
from harness.report.story import Line, Tone
from harness.study.capacity import CapacityResult, Look, Probe
from harness.study.told import capacity_notes, probes
from harness.units import format_number

_TONES: dict[int, Tone] = {0: "good", 10: "bad"}
_HELD: dict[Held, Tone] = {"holds": "good", "fails": "bad", "undecided": "warn"}


def capacity_html(result: CapacityResult) -> str:
    """The page."""
    charts = {"search": _search(result)} if result.probes else {}
    charts |= {f"slo{place}": chart for place, chart in enumerate(_slos(result))}
    head, *rows = probes(result)
    return page(
        "capacity.html.j2",
        {"scatter": {name: chart.series() for name, chart in charts.items()}},
        name=clean(result.name, 64),
        verdicts=[Line(_TONES.get(result.exit_code, "warn"), clean(result.answer))],
        words=f"What has to hold: {' · '.join(clean(expr, 60) for expr in result.slo)}.",
        warnings=[Line("warn", "SIMULATED: says nothing about a real server")] if result.simulated else [],
        cost=cost(result.cost),
        cost_rows=cost_rows(result.cost),
        rate=None if result.rates is None else result.rates.output_tokens_per_s,
        probes_head=head,
        probes=rows,
        looks_head=[result.unit, "asked", "look", "seed", "verdict", "run", *(clean(expr, 60) for expr in result.slo)],
        looks=list(_looks(result)),
        charts=[(name, chart.y.label) for name, chart in charts.items() if name != "search"],
        notes=[clean(note) for note in capacity_notes(result)],
        definitions=definitions(dict.fromkeys(parse(expr).metric for expr in result.slo)),
    )


def _whole(result: CapacityResult) -> bool:
    return result.key == "load.concurrency"


def _load(result: CapacityResult, load: float) -> str:
    return f"{load:.0f}" if _whole(result) else format_number(load)


def _search(result: CapacityResult) -> Scatter:
    """The loads in the order in which they were probed."""
    points = [
        Point(
            x=number,
            y=probe.load,
            tone=_HELD[probe.verdict],
            name=_load(result, probe.load) + (" again" if probe.kind == "confirm" else ""),
            told=f"probe {number}, {probe.verdict}",
        )
        for number, probe in enumerate(result.probes, 1)
    ]
    rules = [Rule(f"{_load(result, result.holds)} hold", "good", y=result.holds)] if result.holds is not None else []
    return Scatter(Axis("probe", whole=True), Axis(result.unit, log=True, whole=_whole(result)), points, rules)


def _slos(result: CapacityResult) -> Iterator[Scatter]:
    """The figure of each SLO along the load, by the last look at it, and the limit."""
    for place, expr in enumerate(result.slo):
        unit = _unit(result, expr)
        points, limit = [], None
        for probe in sorted(result.probes, key=lambda one: one.load):
            slo = _slo(probe, place)
            if slo is None or slo.value is None:
                continue
            limit = slo.limit
            points.append(_figure(result, probe, slo, unit))
        if points:
            rules = [] if limit is None else [Rule(f"limit {amount(limit, unit)}", "warn", y=limit)]
            if result.holds is not None:
                rules.append(Rule(_load(result, result.holds), "good", x=result.holds))
            loads = Axis(result.unit, log=True, whole=_whole(result))
            yield Scatter(loads, Axis(clean(expr, 60), unit, log=unit == "s"), points, rules)


def _slo(probe: Probe, place: int) -> SloResult | None:
    last = probe.looks[-1] if probe.looks else None
    return last.slo[place] if last is not None and place < len(last.slo) else None


def _figure(result: CapacityResult, probe: Probe, slo: SloResult, unit: str) -> Point:
    low, high = slo.ci95 or (None, None)
    return Point(
        x=probe.load,
        y=slo.value or 0.0,
        low=low,
        high=high,
        tone=_HELD[probe.verdict],
        told=f"{_load(result, probe.load)}, {probe.verdict}: {amount(slo.value, unit)}",
    )


def _looks(result: CapacityResult) -> Iterator[list[str]]:
    for probe in result.probes:
        for number, one in enumerate(probe.looks, 1):
            figures = [_told(slo, _unit(result, slo.expr)) for slo in one.slo]
            yield [
                _load(result, probe.load),
                probe.kind,
                f"{number} of {len(probe.looks)}",
                str(one.seed),
                one.verdict,
                _run(one),
                *figures,
            ]


def _run(one: Look) -> str:
    return f"{PurePath(one.folder).name} ({one.validity})"


def _unit(result: CapacityResult, expr: str) -> str:
    """The unit of what an SLO is about; of money its currency."""
    unit = parse(expr).unit
    return unit if unit != "money" else result.cost.currency if result.cost is not None else ""


def _told(slo: SloResult, unit: str) -> str:
    bounds = interval(slo.ci95, unit)
    return f"{amount(slo.value, unit)} ({bounds})" if bounds else amount(slo.value, unit)
