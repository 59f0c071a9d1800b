"""The page of a run: one HTML file to keep, print and mail. Its tables read without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from harness.metrics.summary import MetricStats, Summary
from harness.metrics.table import Floats
from harness.report import charts
from harness.report.analysed import story_of
from harness.report.definitions import FLOOR, INTERVAL, RATES, definitions
from harness.report.figures import amount, clean, figure
from harness.report.machines import Part, machine_parts
from harness.report.money import break_even_rows, cost_rows
from harness.report.page import page
from harness.report.story import QUANTITIES, Story
from harness.report.tasks import JOIN_HEAD, KIND_HEAD
from harness.report.waterfall import LABEL, ROW, WIDTH, waterfalls
from harness.units import format_duration, format_number

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_QUANTITIES = ("p50", "p90", "p95", "p99", "p99.9")
_TABLE_BINS = 12
_GRAVE = 4  # findings that are told under the verdict; all of them, with remedies, stand further down
_PARTS = {"lag": "client", "prefill": "queue+prefill", "decode": "decode", "gap": "tools+think"}
_PART_OF = {"queue+prefill": 1, "decode": 2, "tools+think": 3, "client": 4}  # class of the colour


class HtmlReport:
    """For people, with charts."""

    name = "html"
    extension = "html"

    def render(self, analysis: Analysis) -> str:
        """The page."""
        story = story_of(analysis)
        edges = charts.time_edges(analysis)
        machines = [] if edges is None else machine_parts(analysis, edges)
        return page(
            "run.html.j2",
            _data(analysis, story, machines, edges),
            story=story,
            summary=analysis.summary,
            quantities=QUANTITIES,
            join_head=JOIN_HEAD,
            kind_head=KIND_HEAD,
            grave=[line for line in story.findings if line.tone in ("bad", "warn")][:_GRAVE],
            **_tables(analysis, story),
            **_sessions(analysis),
            **_machines(analysis, machines),
            **_facts(analysis),
        )


def _data(analysis: Analysis, story: Story, machines: list[Part], edges: Floats | None) -> dict[str, Any]:
    """The charts' series."""
    latencies = ["ttft_intended", "e2e_intended"] if story.open_load else ["ttft", "e2e"]
    engine = {
        part.name: {"unit": part.unit, "series": {name: charts.told(line) for name, line in part.lines.items()}}
        for part in machines
    }
    return {
        "cdf": charts.distributions(analysis, [*latencies, "tpot"]),
        "time": charts.over_time(analysis),
        "length": charts.by_prompt_length(analysis),
        "sessions": charts.over_critical_paths(analysis),
        "end": None if edges is None else float(edges[-1]),
        "engine": engine,
    }


def _tables(analysis: Analysis, story: Story) -> dict[str, Any]:
    """What the charts show, as tables, and the tables that have no chart."""
    metrics = analysis.summary.metrics
    return {
        "groups": _groups(metrics),
        "time_rows": _time_rows(analysis),
        "length_rows": _length_rows(analysis),
        "definitions": definitions(metrics) | {words: RATES[words] for words, _ in story.rates if words in RATES},
        "notes": (INTERVAL, FLOOR),
    }


def _groups(metrics: Mapping[str, MetricStats]) -> list[tuple[str, list[str], list[Any]]]:
    """Requests apart from sessions: title, quantities, and a row of figures a metric."""
    groups = []
    for title in ("requests", "sessions"):
        chosen = {
            name: stats for name, stats in metrics.items() if name.startswith("session.") == (title == "sessions")
        }
        told = [quantity for quantity in _QUANTITIES if quantity != "p99.9" or any(s.p999 for s in chosen.values())]
        rows = [(name, stats, [figure(stats, quantity) for quantity in told]) for name, stats in chosen.items()]
        if rows:
            groups.append((title, told, rows))
    return groups


def _time_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """The series over time in about a dozen rows, for readers without the charts."""
    data = charts.over_time(analysis, _TABLE_BINS)
    if data is None:
        return []
    half = data["bin_s"] / 2
    return [
        {"from": middle - half, "to": middle + half, **{name: line[place] for name, line in data["series"].items()}}
        for place, middle in enumerate(data["x"])
    ]


def _length_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """Middle of each bin of prompt lengths; p5, p50 and p95 of ttft in it."""
    data = charts.by_prompt_length(analysis)
    if data is None:
        return []
    rows = zip(data["x"], *data["series"].values(), strict=True)
    return [(format_number(tokens), *map(format_duration, times)) for tokens, *times in rows]


def _sessions(analysis: Analysis) -> dict[str, Any]:
    """Where the time of sessions went."""
    data = charts.over_critical_paths(analysis, _TABLE_BINS)
    lines = {} if data is None else {_PARTS[part]: line for part, line in data["series"].items()}
    rows = [] if data is None else list(zip(data["x"], *lines.values(), strict=True))
    return {
        "waterfalls": waterfalls(analysis),
        "drawing": {"width": WIDTH, "label": LABEL, "row": ROW},
        "part_of": _PART_OF,
        "session_head": ["longer than … of the sessions", *lines],
        "session_rows": [[amount(share, "share"), *map(format_duration, parts)] for share, *parts in rows],
    }


def _machines(analysis: Analysis, parts: list[Part]) -> dict[str, Any]:
    """What was sampled, in about a dozen rows."""
    edges = charts.time_edges(analysis, _TABLE_BINS)
    few = machine_parts(analysis, edges) if parts and edges is not None else []
    lines = [(f"{name}, {part.unit}", part.unit, line) for part in few for name, line in part.lines.items()]
    return {
        "engine_parts": parts,
        "engine_head": ["time", *(name.removesuffix(", count").removesuffix(", share") for name, _, _ in lines)],
        "engine_table": [] if edges is None or not few else _sampled(edges, lines),
    }


def _sampled(edges: Floats, lines: list[tuple[str, str, Floats]]) -> list[list[str]]:
    def cell(value: float, unit: str) -> str:
        return amount(None if math.isnan(value) else value, "share" if unit == "share" else "")

    return [
        [
            f"{format_duration(float(edges[place]))} – {format_duration(float(edges[place + 1]))}",
            *(cell(float(line[place]), unit) for _, unit, line in lines),
        ]
        for place in range(len(edges) - 1)
    ]


def _facts(analysis: Analysis) -> dict[str, Any]:
    """What ran on what, what it cost, and how to run it again."""
    manifest, folder = analysis.manifest, analysis.folder
    try:
        config = folder.experiment.read_text(encoding="utf-8") if folder else ""
    except (OSError, UnicodeDecodeError):
        config = ""
    return {
        "config": config,
        "version": manifest.harness_version,
        "machine": _pairs(manifest.machine),
        "clock": _pairs(manifest.clock),
        "settings": _pairs(manifest.settings),
        "cost_rows": cost_rows(analysis.summary.cost),
        "break_even_rows": break_even_rows(analysis.summary.cost),
        "energy_rows": _energy_rows(analysis.summary),
        "engine_rows": _pairs(analysis.summary.server or {}),
    }


def _pairs(facts: Mapping[str, Any], most: int = 40) -> list[tuple[str, str]]:
    """Facts as name and text; nested ones by dotted name."""
    told: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            told += [(f"{clean(name, 60)}.{inner}", text) for inner, text in _pairs(value)]
        elif value is not None and value != "":
            told.append((clean(name, 60), format_number(value, 6) if isinstance(value, float) else clean(value, 200)))
    return told[:most]


def _energy_rows(summary: Summary) -> list[tuple[str, str]]:
    """Whatever of the energy figures is known, by the names of summary.json."""
    return _pairs(to_builtins(summary.energy)) if summary.energy else []
