"""One number, wherever it is told: summary.json, the page, the terminal and Markdown."""

import html
import json
import re
from typing import Any

import pytest

from harness.judge.comparison import compare
from harness.judge.evaluate import evaluate
from harness.judge.subject import of_analysis
from harness.metrics.analysis import Analysis
from harness.report import comparison
from harness.report.compare_page import html as compare_html
from harness.report.figures import amount
from harness.report.html import HtmlReport
from harness.report.json import JsonReport
from harness.report.markdown import MarkdownReport
from harness.report.terminal import TerminalReport
from harness.units import format_duration, format_money, format_number

DATA = re.compile(r'<data value="([^"]+)">([^<]*)</data>')


@pytest.fixture
def told(analysis: Analysis) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(JsonReport().render(analysis))
    return document


@pytest.fixture
def page(analysis: Analysis) -> str:
    return HtmlReport().render(analysis)


@pytest.fixture
def screens(analysis: Analysis) -> list[str]:
    """What people read beside the page."""
    return [TerminalReport().render(analysis), MarkdownReport().render(analysis).replace("\\", "")]


def rows(page: str, attribute: str) -> list[tuple[str, list[tuple[float, str]]]]:
    """Every row so marked: its name, and its figures as number and text."""
    found = re.findall(rf'<tr data-{attribute}="([^"]+)">(.*?)</tr>', page, re.DOTALL)
    return [(html.unescape(name), [(float(v), html.unescape(t)) for v, t in DATA.findall(row)]) for name, row in found]


def test_every_figure_of_every_metric_is_that_of_the_json(page: str, told: dict[str, Any]) -> None:
    metrics = told["metrics"]
    seen = set()
    for name, figures in rows(page, "metric"):
        stats, unit = metrics[name], metrics[name]["unit"]
        headline = name not in seen and len(figures) <= 3 and figures and figures[0][0] == stats["p50"]
        order = ("p50", "p95", "p99") if headline else ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
        wanted = [stats[key] for key in order if stats.get(key) is not None]
        assert [value for value, _ in figures] == wanted, name
        assert [text for _, text in figures] == [amount(value, unit) for value in wanted], name
        seen.add(name)
    assert seen == set(metrics)


def test_the_headline_is_the_same_on_every_screen(page: str, screens: list[str], told: dict[str, Any]) -> None:
    headline = page[page.index('class="headline"') : page.index("</table>")]
    names = [name for name, _ in rows(headline, "metric")]
    assert len(names) >= 3
    for name, figures in rows(headline, "metric"):
        stats = told["metrics"][name]
        known = [quantity for quantity in ("p50", "p95", "p99") if stats[quantity] is not None]
        assert [value for value, _ in figures] == [stats[quantity] for quantity in known]
        for screen in screens:
            title = name.removeprefix("session.")
            line = next(line for line in screen.splitlines() if title in line and figures[0][1] in line)
            assert all(text in line for _, text in figures), (name, line)


def test_rates_cost_and_slos_are_the_same_on_every_screen(page: str, screens: list[str], told: dict[str, Any]) -> None:
    tiles = page[page.index('class="tiles"') :]
    shown = DATA.findall(tiles[: tiles.index("</ul>")])
    rates = {name: value for name, value in told["rates"].items() if value is not None}
    assert sorted(float(value) for value, _ in shown) == sorted(rates.values())
    assert all(html.unescape(text) == format_number(float(value)) for value, text in shown)
    money = format_money(told["cost"]["per_1m_tokens"], told["cost"]["currency"])
    assert all(format_number(rates["output_tokens_per_s"]) in screen and money in screen for screen in screens)
    assert money in html.unescape(page)
    for slo in told["slo"]:
        value = format_duration(slo["value"]) if slo["expr"].startswith("ttft") else amount(slo["value"], "share")
        assert f"{slo['expr']}: {value}" in html.unescape(page)
        assert all(value in screen for screen in screens)


def test_counts_and_verdict_are_the_same_on_every_screen(page: str, screens: list[str], told: dict[str, Any]) -> None:
    for text in (told["validity"]["verdict"], f"{told['counts']['requests']['sent']} requests"):
        assert all(text in screen.replace("\u202f", "") for screen in (*screens, html.unescape(page)))


def test_a_comparisons_figures_are_those_of_its_json(make_run: Any, records: Any) -> None:
    subjects = [of_analysis(evaluate(make_run(records[: 4 * n], name=f"r{n}"))) for n in (60, 52)]
    found = compare(subjects, force=True)
    page, screen = compare_html(found, subjects), comparison.text(found)
    shown = rows(page, "term")
    assert [name for name, _ in shown] == [row.term for row in found.rows]
    for row, (_, figures) in zip(found.rows, shown, strict=True):
        assert [value for value, _ in figures] == [one.value for one in row.figures if one.value is not None]
        line = next(line for line in screen.splitlines() if line.startswith(f" {row.term} "))
        assert all(text in line for _, text in figures)
        assert all(comparison.change(versus.ratio) in html.unescape(page) for versus in row.versus)
