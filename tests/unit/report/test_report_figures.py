import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.summary import MetricStats
from harness.report.figures import amount, clean, count, figure, inert, interval, missing, spread, whole
from harness.units import THIN


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.1764, "s", "176 ms"),
        (41.23, "tokens", "41.2 tokens"),
        (0.118, "share", "11.8 %"),
        (0.00131, "USD", "$0.00131"),
        (12.0, "count", "12"),
        (None, "s", "–"),
    ],
)
def test_amounts_have_their_unit(value: float | None, unit: str, told: str) -> None:
    assert amount(value, unit) == told


@pytest.mark.parametrize(
    ("value", "ci95", "unit", "told"),
    [
        (0.1764, (0.172, 0.18), "s", "±4"),
        (6.1, (5.9, 6.3), "s", "±0.20"),
        (0.0201, (0.02, 0.0202), "s", "±0.1"),
        (0.00845, (0.0075, 0.0094), "s", "±0.95"),
        (1e-5, (0.99e-5, 1.01e-5), "s", "±0.1"),
        (200.0, (190.0, 230.0), "s", "±20 s"),
        (0.5, (0.4, 0.6), "share", "±10"),
        (4790.0, (4700.0, 4880.0), "", "±90"),
        (176.0, (175.99, 176.01), "", "±0.01"),
    ],
)
def test_the_spread_is_half_the_interval_in_the_unit_of_the_value(
    value: float, ci95: tuple[float, float], unit: str, told: str
) -> None:
    assert spread(value, ci95, unit) == told


def test_an_interval_names_a_common_unit_once() -> None:
    assert interval((0.172, 0.18), "s") == "172 … 180 ms"
    assert interval((0.0009, 0.0012), "s") == "900 µs … 1.20 ms"
    assert interval((100.0, 200.0), "s") == "100 s … 3 min 20 s"
    assert interval(None, "s") == ""


def test_a_missing_percentile_says_what_it_needs() -> None:
    stats = MetricStats(unit="s", n=118, p50=1.0)
    assert figure(stats, "p99").text == "–"
    assert figure(stats, "p99").note == "needs 299, have 118"
    assert figure(stats, "p99.9").note == f"needs 2{THIN}995, have 118"
    assert missing(0, "p50") == "none measured"
    assert missing(400, "p99") == "not known"


def test_a_degenerate_interval_is_not_told() -> None:
    told = figure(MetricStats(unit="s", n=50, p50=0.0, ci95={"p50": (0.0, 0.0)}), "p50")
    assert (told.text, told.spread, told.interval) == ("0 s", "", "")


def test_counts_keep_every_digit() -> None:
    assert whole(1234567) == f"1{THIN}234{THIN}567"
    assert count(1, "session") == "1 session"
    assert count(1180, "request") == f"1{THIN}180 requests"


@given(st.text())
def test_foreign_text_becomes_one_harmless_line(text: str) -> None:
    told = clean(text, 40)
    assert len(told) <= 40
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp", "Cs"} for char in told)


def test_escape_codes_lose_their_escape() -> None:
    assert clean("\x1b[31mred\u202egnp.\n!") == "\ufffd[31mred\ufffdgnp. !"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", "-x"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_text(text: str) -> None:
    assert inert(text) == "'" + text.strip()


@pytest.mark.parametrize("text", ["-1", "-0.5", "+2e-3", "-.5", "3", "chat", "a=b", "", '["--parallel"]'])
def test_numbers_and_harmless_text_stay_as_they_are(text: str) -> None:
    assert inert(text) == text
