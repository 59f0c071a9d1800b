"""Each formula of cost against arithmetic done by hand, which stands beside the case."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from harness import hourly
from harness.metrics import cost_formulas as formulas
from harness.metrics.apportion import apportion, page_times
from harness.metrics.cost_age import latest_day, price_findings


@pytest.mark.parametrize(
    ("interest", "years", "wanted"),
    [
        (0.08, 4, 0.3019208045),  # 1.08^4 = 1.36048896; 0.08 x 1.36048896 / 0.36048896
        (0.10, 1, 1.1),  # 0.1 x 1.1 / 0.1: the loan and its interest, at once
        (0.05, 2, 0.5378048780),  # 1.1025; 0.05 x 1.1025 / 0.1025
        (0.0, 4, 0.25),  # no interest: a quarter a year
    ],
)
def test_capital_recovery(interest: float, years: float, wanted: float) -> None:
    assert hourly.capital_recovery(interest, years) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("capex", "interest", "years", "residual", "availability", "wanted"),
    [
        (8760, 0.0, 1, 0.0, 1.0, 1.0),  # 8,760 a year, an hour 1
        (8760, 0.0, 1, 0.25, 0.5, 1.5),  # x 0.75 for what is left, over half the hours: 0.75 / 0.5
        (
            300_000,
            0.08,
            4,
            0.1,
            0.95,
            9.7955560,
        ),  # 300,000 x 0.3019208045 x 0.9 = 81,518.6172; / (8,760 x 0.95 = 8,322)
        (1200, 0.08, 4, 0.0, 1.0, 0.0413590),  # a box under a desk: 1,200 x 0.3019208045 = 362.304965; / 8,760
    ],
)
def test_hardware_hour(
    capex: float, interest: float, years: float, residual: float, availability: float, wanted: float
) -> None:
    assert hourly.hardware_hour(capex, interest, years, residual, availability) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("kw", "pue", "kwh_price", "wanted"),
    [
        (1.37, 1.3, 0.10, 0.1781),  # 1.37 x 1.3 = 1.781 kW from the wall, at 10 cents
        (0.065, 1.0, 0.30, 0.0195),  # 65 W on a desk
    ],
)
def test_electricity_hour(kw: float, pue: float, kwh_price: float, wanted: float) -> None:
    assert hourly.electricity_hour(kw, pue, kwh_price) == pytest.approx(wanted)


def test_opex_hour() -> None:
    assert hourly.opex_hour(8760, 0.5) == pytest.approx(2.0)  # 8,760 a year over 4,380 hours


@pytest.mark.parametrize(
    ("per_hour", "per_s", "utilisation", "wanted"),
    [
        (3.60, 1000, 1.0, 1.0),  # 3.6M tokens an hour for 3.60
        (3.60, 1000, 0.5, 2.0),  # half of them for the same money
        (3.60, 1000, 0.2, 5.0),
        (2.50, 4790, 1.0, 0.14497796),  # 2.5 x 10^6 / (3,600 x 4,790 = 17,244,000)
        (2.50, 0, 1.0, None),
        (2.50, None, 1.0, None),
    ],
)
def test_per_million(per_hour: float, per_s: float | None, utilisation: float, wanted: float | None) -> None:
    told = formulas.per_million(per_hour, per_s, utilisation)
    assert told is wanted is None or told == pytest.approx(wanted, rel=1e-6)


TABLE = {"input": 1.0, "cached_input": 0.1, "cache_write": 1.25, "output": 4.0, "reasoning": 6.0}


@pytest.mark.parametrize(
    ("prices", "used", "wanted"),
    [
        # 1M in at 1.00, 0.2M out at 4.00: 1.00 + 0.80
        ({"input": 1.0, "output": 4.0}, {"input": 1e6, "output": 2e5}, 1.80),
        # of 1M in 0.6M cached: 0.4 x 1.00 + 0.6 x 0.10 + 0.2 x 4.00 = 0.40 + 0.06 + 0.80
        (TABLE, {"input": 1e6, "cached": 6e5, "output": 2e5}, 1.26),
        # 0.3M more of it written: 0.1 x 1.00 + 0.6 x 0.10 + 0.3 x 1.25 + 0.80 = 0.10 + 0.06 + 0.375 + 0.80
        (TABLE, {"input": 1e6, "cached": 6e5, "written": 3e5, "output": 2e5}, 1.335),
        # half of the output is reasoning at 6.00: 1.00 + 0.1 x 4.00 + 0.1 x 6.00
        (TABLE, {"input": 1e6, "output": 2e5, "reasoning": 1e5}, 2.00),
        # a batch halves the tokens, not the fee: 1.80 / 2 + 10 x 0.01
        (
            {"input": 1.0, "output": 4.0, "batch_factor": 0.5, "per_request": 0.01},
            {"input": 1e6, "output": 2e5, "requests": 10},
            1.00,
        ),
        # cached input without a price of its own costs as much as any: 2.00
        ({"input": 2.0, "output": 0.0}, {"input": 1e6, "cached": 5e5, "output": 0}, 2.00),
        # reasoning bills as output: 0.2 x 4.00
        ({"input": 1.0, "output": 4.0}, {"input": 0, "output": 2e5, "reasoning": 1e5}, 0.80),
    ],
)
def test_bill(prices: dict[str, float], used: dict[str, Any], wanted: float) -> None:
    assert formulas.bill(prices, **used) == pytest.approx(wanted)


def test_a_bill_of_columns_is_the_bill_of_each() -> None:
    told = formulas.bill(TABLE, input=np.array([1e6, 0.0]), cached=np.array([6e5, 0.0]), output=np.array([2e5, 1e6]))
    assert told.tolist() == pytest.approx([1.26, 4.0])


def test_both_sides_of_a_bill_make_the_whole() -> None:
    first = formulas.input_bill(TABLE, input=1e6, cached=6e5, written=3e5)  # 0.10 + 0.06 + 0.375
    second = formulas.output_bill(TABLE, output=2e5, reasoning=1e5)  # 0.40 + 0.60
    assert (first, second) == pytest.approx((0.535, 1.0))


@pytest.mark.parametrize(
    ("per_hour", "session", "sessions", "utilisation", "needed"),
    [
        (2.0, 0.01, 1000, 0.2, 200),  # an API bills 10.00 for the 1,000 sessions of a full hour: 2 / 10
        (2.0, 0.001, 1000, 2.0, 2000),  # it bills 1.00: at 2.00 an hour never cheaper, were it not twice as fast
        (2.0, 0.01, None, None, 200),
        (2.0, 0.0, 1000, None, None),  # what is free is never beaten
    ],
)
def test_break_even(
    per_hour: float, session: float, sessions: float | None, utilisation: float | None, needed: float | None
) -> None:
    assert formulas.break_even_utilisation(per_hour, session, sessions) == pytest.approx(utilisation)
    assert formulas.break_even_sessions(per_hour, session) == pytest.approx(needed)


def test_apportioned_by_measured_rates() -> None:
    """60,000 uncached tokens at 12,000/s are 5 s of prefill, 13,500 out at 900/s are 15 s of decode: 5 / 20."""
    told = apportion({"prefill": 12_000, "decode": 900}, (1.0, 1.0), 60_000, 13_500)
    assert told is not None and told.input == pytest.approx(0.25) and "cost.split" in told.method


def test_apportioned_by_the_engine_s_times() -> None:
    """3 s of prefill and 9 s of decode: 3 / 12."""
    told = apportion(None, (3.0, 9.0), None, None)
    assert told is not None and told.input == pytest.approx(0.25) and "engine" in told.method


@pytest.mark.parametrize(
    ("rates", "times", "uncached"),
    [
        (None, None, 100.0),
        (None, (0.0, 0.0), 100.0),
        ({"prefill": 1.0, "decode": 1.0}, None, None),
    ],
)
def test_what_was_not_measured_is_not_apportioned(
    rates: dict[str, float] | None, times: tuple[float, float] | None, uncached: float | None
) -> None:
    assert apportion(rates, times, uncached, 100.0) is None


def test_counters_that_cannot_be_compared_are_not_used() -> None:
    page = {"prefill_s": 3.0, "decode_s": 9.0}
    assert page_times(page, "vllm") == (3.0, 9.0)
    assert page_times(page, "llama.cpp") is page_times({"prefill_s": 3.0}, "vllm") is page_times(None, "vllm") is None


@pytest.mark.parametrize(
    ("as_of", "day"),
    [
        ("2026-11-21", date(2026, 11, 21)),
        ("2026-02", date(2026, 2, 28)),
        ("2024, via the article of 2026-05", date(2024, 12, 31)),
        ("autumn 2026", date(2026, 11, 30)),
        ("Summer 2026", date(2026, 8, 31)),
        ("2026-13", None),
        ("last week", None),
    ],
)
def test_the_latest_day_a_date_can_mean(as_of: str, day: date | None) -> None:
    assert latest_day(as_of) == day


@pytest.mark.parametrize(
    ("terms", "old"),
    [
        # 2026-08-01 to 2026-11-21 are 30 + 31 + 30 + 21 = 112 days; 2026-08-23 to it are 90
        ({"gpu_hour": 1, "as_of": "2026-08-01"}, 112),
        ({"gpu_hour": 1, "as_of": "2026-08-22"}, 91),
        ({"gpu_hour": 1, "as_of": "2026-08-23"}, None),
        ({"gpu_hour": 1}, None),
        ({"gpu_hour": 1, "against": [{"model": "a/b", "as_of": "2026-08-01"}, {"model": "c"}]}, 112),
        ({"price": {"model": "a/b", "input": 1, "output": 1, "as_of": "2025-11-21"}}, 365),
        (None, None),
    ],
)
def test_old_prices(terms: dict[str, Any] | None, old: int | None) -> None:
    found = price_findings(terms, "2026-11-21T08:00:00Z")
    assert [finding.value for finding in found] == ([] if old is None else [old])
    assert all(finding.code == "price_old" and finding.severity == "info" for finding in found)
    assert price_findings(terms, "") == []
