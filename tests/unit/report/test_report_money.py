"""Cost in words and rows: nothing is told that is unknown, ranges stand beside their figures."""

from __future__ import annotations

import pytest

from harness.metrics.analysis import Analysis
from harness.metrics.summary import BreakEven, CostFigures, Summary, WireFigures
from harness.report import money
from harness.report.html import HtmlReport
from harness.report.markdown import MarkdownReport

CHEAPER = BreakEven(
    model="openai/gpt-4o", per_1m_tokens=2.03, per_session=0.013, utilisation=0.25, utilisation_at_slo=0.321,
    sessions_per_hour=81.0, as_of="2024",
)  # fmt: skip
DEARER = BreakEven(model="groq/x", per_session=0.001, utilisation=3.24, sessions_per_hour=1053.0)
OWNED = CostFigures(
    basis="owned", total=0.05, per_1m_tokens=0.786, per_1m_input_tokens=0.25, per_1m_output_tokens=9.72,
    per_session=0.00556, at_utilisation={"100": 0.786, "50": 1.57, "20": 3.93}, per_hour=1.8,
    parts={"hardware": 1.5, "electricity": 0.3}, intervals={"per_1m_tokens": (0.75, 0.82)}, at_slo=1.12,
    at_slo_utilisation={"50": 2.24}, inferencex={"input": 0.833, "output": 13.9}, electricity_per_1m_tokens=0.131,
    per_1m_output_bytes=3.47, break_even=[CHEAPER, DEARER], source="the shop's bill",
)  # fmt: skip


def test_a_line() -> None:
    assert money.cost(OWNED) == (
        "$0.786 per 1M tokens · $0.250 per 1M in · $9.72 per 1M out · $0.00556 per session"
        "  (owned, used 100 %; at 50 %: $1.57 per 1M tokens)"
    )
    assert money.cost(None) == money.cost(CostFigures()) == ""
    assert money.cost(CostFigures(basis="price", total=1.5)) == "$1.50  (by price list)"


def test_break_even_in_words() -> None:
    cheaper, dearer = money.break_even(OWNED).split(" · ")
    assert cheaper == "openai/gpt-4o $0.0130 a session: this hardware is cheaper from 25.0 % use (81.0 sessions/h)"
    assert dearer.startswith("groq/x $0.00100 a session: cheaper than this hardware at any use (3.24 × full use, ")
    assert dearer.endswith(" sessions/h)")
    unknown = CostFigures(break_even=[BreakEven(model="x")])
    assert money.break_even(unknown) == money.break_even(None) == ""
    assert money.break_even(CostFigures(break_even=[BreakEven(model="x", per_session=1.0)])) == "x $1.00 a session"


def test_rows_hold_all_that_is_known() -> None:
    rows = dict(money.cost_rows(OWNED))
    assert rows["1M tokens, input and output"] == "$0.786 ($0.750 … $0.820)"
    assert (rows["An hour"], rows["of it hardware"]) == ("$1.80", "$1.50")
    assert rows["1M tokens, used 20 %"] == "$3.93" and rows["1M tokens at SLO, used 50 %"] == "$2.24"
    assert rows["InferenceX's way: the whole hour on output alone, 1M tokens"] == "$13.9"
    assert "1,000 requests" not in rows
    assert money.cost_rows(None) == money.break_even_rows(None) == []
    first, second = money.break_even_rows(OWNED)
    assert first == ("openai/gpt-4o", "$2.03", "$0.0130", "25.0 %", "32.1 %", "81.0", "2024")
    assert second[1] == second[4] == second[6] == "–"


def test_wire_in_words(summary: Summary) -> None:
    assert money.wire(summary) == ""
    summary.wire = WireFigures(bytes_in=1, bytes_out=1, in_per_output_token=202.2, out_per_output_token=66.67)
    assert money.wire(summary) == "202 bytes received and 66.7 sent per output token, headers included"


@pytest.mark.parametrize(
    ("report", "wanted"), [(HtmlReport, "the shop&#39;s bill"), (MarkdownReport, "**Break-even**")]
)
def test_formats_tell_it(analysis: Analysis, report: type, wanted: str) -> None:
    analysis.summary.cost = OWNED
    page = report().render(analysis)
    assert wanted in page and "openai/gpt-4o" in page and "25.0 %" in page
