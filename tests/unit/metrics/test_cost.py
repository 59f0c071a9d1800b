"""Cost by rent and by price, and the terms they are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ResultsError
from harness.metrics.cost import bill, by_price, by_the_hour, each, per_million
from harness.metrics.summarise import analyse_records
from harness.metrics.summary import Counts, Rates, RequestCounts, SessionCounts, Tokens
from harness.metrics.terms import Terms, read_terms, terms_of
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record


def test_rent() -> None:
    rates = Rates(
        total_tokens_per_s=1000.0, requests_per_s=2.0, sessions_per_hour=100.0, goodput_sessions_per_hour=50.0
    )
    told = by_the_hour(5.0, 720.0, rates, (800.0, 1250.0))
    assert told.total == pytest.approx(1.0)
    assert told.per_1m_tokens == pytest.approx(5e6 / 3.6e6)
    assert told.at_utilisation == pytest.approx({"100": 5 / 3.6, "50": 10 / 3.6, "20": 25 / 3.6})
    assert told.per_1k_requests == pytest.approx(5 / (2 * 3600) * 1000)
    assert (told.per_session, told.per_good_session) == pytest.approx((0.05, 0.1))
    assert told.ci95 == pytest.approx((5e6 / (3600 * 1250), 5e6 / (3600 * 800)))


def test_rent_of_a_run_without_tokens() -> None:
    told = by_the_hour(5.0, 720.0, Rates(), None)
    assert (told.per_1m_tokens, told.per_session, told.ci95) == (None, None, None)
    assert told.at_utilisation == {"100": None, "50": None, "20": None}


PRICES = {"input": 1.0, "cached_input": 0.1, "output": 4.0}


def test_price() -> None:
    counts = Counts(sessions=SessionCounts(finished=10), requests=RequestCounts(ok=40))
    told = by_price(PRICES, Tokens(input=1_000_000, cached_input=600_000, output=200_000), counts, 5)
    assert told.total == pytest.approx(0.4 + 0.06 + 0.8)
    assert told.per_1m_tokens == pytest.approx(1.26 / 1.2)
    assert told.per_1m_input_tokens == pytest.approx(0.46)
    assert told.per_1m_output_tokens == pytest.approx(4.0)
    assert told.per_1k_requests == pytest.approx(1.26 / 40 * 1000)
    assert (told.per_session, told.per_good_session) == pytest.approx((0.126, 0.252))


def test_price_where_something_is_unknown() -> None:
    assert by_price(PRICES, Tokens(input=1, output=None), Counts(), None).total is None
    uncached = by_price(PRICES, Tokens(input=1_000_000, output=0), Counts(), None)
    assert uncached.total == pytest.approx(1.0)
    assert "unknown" in uncached.method
    assert (uncached.per_session, uncached.per_good_session) == (None, None)


def test_cached_input_without_a_price_of_its_own() -> None:
    assert bill({"input": 2.0, "output": 0.0}, 500_000, 500_000, 0) == pytest.approx(2.0)


def test_division_by_nothing_is_unknown() -> None:
    assert each(1.0, 0) is each(None, 1) is per_million(5.0, 0.0) is None


def analysed(cost: dict[str, object] | None, **more: object) -> object:
    record = Record(
        id="a",
        session="s0000000",
        node="n",
        sent_ns=0,
        first_token_ns=10,
        last_token_ns=20,
        end_ns=10**9,
        input_tokens=1_000_000,
        output_tokens=100_000,
        **more,  # type: ignore[arg-type]
    )
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="", ended_at="x")
    return analyse_records([record], manifest, Terms(concurrency=1, cost=cost))


def test_the_price_of_a_session_is_a_metric() -> None:
    told = analysed({"price": PRICES, "currency": "CHF", "as_of": "2026-01-01"}, cached_tokens=500_000)
    summary = told.summary  # type: ignore[attr-defined]
    assert summary.metrics["session.cost"].mean == pytest.approx(0.5 + 0.05 + 0.4)
    assert summary.metrics["session.cost"].unit == "CHF"
    assert (summary.cost.basis, summary.cost.as_of) == ("price", "2026-01-01")


def test_no_basis_no_cost() -> None:
    assert analysed(None).summary.cost is None  # type: ignore[attr-defined]
    assert analysed({"currency": "USD"}).summary.cost is None  # type: ignore[attr-defined]


def test_a_price_list_must_be_whole() -> None:
    with pytest.raises(ResultsError, match="output"):
        analysed({"price": {"input": 1.0}})


def test_terms_are_read_as_people_and_programs_write_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ResultsError, match="cannot read"):
        read_terms(folder)
    folder.experiment.write_text(
        "load: {rate: 5/s, ramp: 2s, warmup: 10s, error_budget: 1%}\nlimits: {max_in_flight: 3}"
    )
    told = read_terms(folder)
    assert (told.rate, told.ramp_s, told.warmup_s, told.error_budget) == (5.0, 2.0, 10.0, 0.01)
    assert told.capped and not told.closed
    for damaged in ("load: [", "load: {ramp: soon}", "[1]"):
        folder.experiment.write_text(damaged)
        with pytest.raises(ResultsError, match="damaged"):
            read_terms(folder)
    assert terms_of({"load": {"concurrency": 2, "warmup": "10"}}).warmup_s == 0
