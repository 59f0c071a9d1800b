"""One HTML file to keep, print and mail: no network, no build step, tables that read without JavaScript.

Foreign text is inert: the template escapes everything, data travels as JSON without `<`, and the page's content
security policy runs only the three scripts and the style whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from harness.metrics.summary import MetricStats, Summary
from harness.report import charts
from harness.report.analysed import story_of
from harness.report.definitions import FLOOR, INTERVAL, definitions
from harness.report.figures import amount, clean, figure, whole
from harness.report.money import break_even_rows, cost_rows
from harness.report.story import Story
from harness.report.waterfall import LABEL, ROW, WIDTH, waterfalls
from harness.units import format_duration, format_number

if TYPE_CHECKING:
    from jinja2 import Template

    from harness.metrics.analysis import Analysis

_ASSETS = Path(__file__).with_name("assets")
_QUANTITIES = ("p50", "p90", "p95", "p99", "p99.9")
_TABLE_BINS = 12


class HtmlReport:
    """For people, with charts."""

    name = "html"
    extension = "html"

    def render(self, analysis: Analysis) -> str:
        """The page. jinja2 is imported here, not before."""
        story = story_of(analysis)
        scripts = [_asset("uPlot.LICENSE", "/*\n", "*/\n") + _asset("uPlot.iife.min.js"), _asset("report.js")]
        style = _asset("uPlot.min.css") + _asset("report.css")
        return _template().render(
            story=story,
            summary=analysis.summary,
            style=style,
            scripts=scripts,
            policy=_policy(scripts, style),
            data=_data(analysis, story),
            **_tables(analysis),
            **_facts(analysis),
        )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": clean,
        "whole": whole,
        "number": format_number,
        "duration": format_duration,
        "amount": amount,
    }
    return environment.get_template("report.html.j2")


@cache
def _asset(name: str, before: str = "", after: str = "") -> str:
    return before + (_ASSETS / name).read_text(encoding="utf-8") + after


def _policy(scripts: list[str], style: str) -> str:
    """Nothing is fetched, and nothing runs but our own text."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    run = " ".join(digest(text) for text in scripts)
    return f"default-src 'none'; script-src {run}; style-src {digest(style)}; base-uri 'none'; form-action 'none'"


def _data(analysis: Analysis, story: Story) -> str:
    """The charts' series as JSON that cannot end its element, whatever it holds."""
    latencies = ["ttft_intended", "e2e_intended"] if story.open_load else ["ttft", "e2e"]
    content = {
        "cdf": charts.distributions(analysis, [*latencies, "tpot"]),
        "time": charts.over_time(analysis),
        "length": charts.by_prompt_length(analysis),
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _tables(analysis: Analysis) -> dict[str, Any]:
    """What the charts show, as tables, and the tables that have no chart."""
    metrics = analysis.summary.metrics
    return {
        "groups": _groups(metrics),
        "time_rows": _time_rows(analysis),
        "length_rows": _length_rows(analysis),
        "waterfalls": waterfalls(analysis),
        "drawing": {"width": WIDTH, "label": LABEL, "row": ROW},
        "definitions": definitions(metrics),
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


def _length_rows(analysis: Analysis) -> list[tuple[float | None, ...]]:
    """Middle of each bin of prompt lengths; p5, p50 and p95 of ttft in it."""
    data = charts.by_prompt_length(analysis)
    return list(zip(data["x"], *data["series"].values(), strict=True)) if data else []


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
