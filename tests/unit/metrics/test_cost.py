"""Cost of whole runs, by hand: rented, owned and by price; against APIs; and the terms they are read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ResultsError
from harness.metrics.catalogue import scalar
from harness.metrics.classic import classic_row
from harness.metrics.cost import Measured, cost
from harness.metrics.goodput import Limit
from harness.metrics.summarise import analyse_records
from harness.metrics.summary import CostFigures, EnergyFigures, Summary
from harness.metrics.terms import Terms, read_terms, terms_of
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record

S = 1_000_000_000
SLOW = [Limit(metric="ttft", operator="<", bound=3.0)]

# Ten sessions of one request, one after the other, each 10 s: 6,000 tokens in (of them 2,000 cached), 400 out in 1,600
# bytes of text. The first token comes after 2 s, in one session in five after 4. The last session fails: it has no
# answer, but what it read was read. The window is the 100 s of all ten.


def records(**more: Any) -> list[Record]:
    made = []
    for index in range(10):
        begin = index * 10 * S
        first = begin + (4 if index % 5 == 3 else 2) * S
        one = Record(
            id=f"r{index}",
            session=f"s{index:07d}",
            node="n",
            intended_ns=begin,
            sent_ns=begin,
            first_token_ns=first,
            last_token_ns=begin + 10 * S,
            end_ns=begin + 10 * S,
            input_tokens=6000,
            cached_tokens=2000,
            output_tokens=400,
            tokens_source="server",
            output_bytes=1600,
            bytes_in=80_000,
            bytes_out=24_000,
        )
        for name, value in more.items():
            setattr(one, name, value)
        made.append(one)
    last = made[-1]
    last.status, last.error, last.output_tokens, last.output_bytes, last.bytes_in = "failed", "timeout", 0, 0, 8_000
    last.reasoning_tokens = None
    return made


def analysed(terms_cost: dict[str, Any] | None, limits: list[Limit] | None = None, **more: Any) -> Any:
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="2026-11-21T00:00:00Z", ended_at="x")
    return analyse_records(records(**more), manifest, Terms(concurrency=1, cost=terms_cost), limits or [])


def told(terms_cost: dict[str, Any], limits: list[Limit] | None = None, **more: Any) -> CostFigures:
    figures = analysed(terms_cost, limits, **more).summary.cost
    assert isinstance(figures, CostFigures)
    return figures


def with_beside(terms_cost: dict[str, Any], **beside: Any) -> CostFigures:
    """The cost of the same run where telemetry has told something."""
    run = analysed(None)
    summary = msgspec.structs.replace(run.summary, **beside)
    figures = cost(
        terms_cost,
        Measured(table=run.table, sessions=run.sessions, window=run.window, good=None, summary=summary),
    )
    assert figures is not None
    return figures


def test_the_run_these_cases_speak_of() -> None:
    """60,000 in and 9 x 400 = 3,600 out in 100 s; nine sessions: 324 an hour; seven of them have a ttft under 3 s."""
    summary = analysed(None, SLOW).summary
    assert summary.run.window_s == 100
    assert summary.rates.total_tokens_per_s == pytest.approx(636)
    assert summary.rates.output_tokens_per_s == pytest.approx(36)
    assert summary.rates.sessions_per_hour == pytest.approx(324)
    assert summary.rates.goodput_sessions_per_hour == pytest.approx(252)


def test_rented() -> None:
    """2 x 3.18 = 6.36 an hour. A million tokens: 6.36 x 10^6 / (3,600 x 636) = 2.7778; 100 s: 6.36 / 36 = 0.17667.
    A thousand requests: 6.36 / 324 x 1,000 = 19.63. Failed work stays: nine sessions carry the cost of ten."""
    figures = told({"gpu_hour": 3.18, "gpus": 2, "accelerator": "H100"}, SLOW)
    assert (figures.basis, figures.per_hour, figures.parts) == ("gpu_hour", 6.36, {"rent": 6.36})
    assert figures.total == pytest.approx(6.36 / 36)
    assert figures.per_1m_tokens == pytest.approx(2.777778, rel=1e-6)
    assert figures.at_utilisation == pytest.approx({"100": 2.777778, "50": 5.555556, "20": 13.888889}, rel=1e-6)
    assert figures.per_1k_requests == pytest.approx(19.62963, rel=1e-6)
    assert figures.per_session == pytest.approx(6.36 / 324)
    assert figures.per_good_session == pytest.approx(6.36 / 252)
    assert figures.method.startswith("2 × H100 rented at 3.18 an hour")


def test_at_slo_counts_only_tokens_of_good_requests() -> None:
    """Seven good requests bring 7 x 6,400 = 44,800 tokens in 100 s: 6.36 x 10^6 / (3,600 x 448) = 3.9435."""
    figures = told({"gpu_hour": 6.36}, SLOW)
    assert figures.at_slo == pytest.approx(3.943452, rel=1e-6)
    assert figures.at_slo_utilisation["20"] == pytest.approx(5 * 3.943452, rel=1e-6)
    assert told({"gpu_hour": 6.36}).at_slo is None


def test_bytes_of_text() -> None:
    """9 x 1,600 = 14,400 bytes in 100 s: 6.36 x 10^6 / (3,600 x 144) = 12.2685."""
    assert told({"gpu_hour": 6.36}).per_1m_output_bytes == pytest.approx(12.268519, rel=1e-6)
    assert told({"gpu_hour": 6.36}, output_bytes=0).per_1m_output_bytes is None


def test_the_interval_of_the_cost_is_that_of_the_rate_turned_round() -> None:
    run = analysed({"gpu_hour": 6.36})
    low, high = run.summary.rates_ci95["total_tokens_per_s"]
    assert run.summary.cost.ci95 == pytest.approx((6.36e6 / 3600 / high, 6.36e6 / 3600 / low))
    assert run.summary.cost.intervals["per_1m_tokens"] == run.summary.cost.ci95
    assert run.summary.cost.ci95[0] <= run.summary.cost.per_1m_tokens <= run.summary.cost.ci95[1]


def test_owned() -> None:
    """43,800 over 5 years without interest: 8,760 a year, x (1 - 0.2) = 7,008, over 8,760 x 0.8 = 7,008 hours: 1.00.
    Opex 3,504 / 7,008 = 0.50. Power 2 kW x 1.5 x 0.10 = 0.30. Together 1.80 an hour: 0.05 for 100 s."""
    owned = {
        "capex": 43_800, "life_years": 5, "interest": 0.0, "residual": 0.2, "availability": 0.8,
        "opex": 3504, "kw": 2.0, "pue": 1.5, "kwh_price": 0.10,
    }  # fmt: skip
    figures = told({"owned": owned})
    assert figures.basis == "owned"
    assert figures.parts == pytest.approx({"hardware": 1.0, "opex": 0.5, "electricity": 0.3})
    assert (figures.per_hour, figures.total) == pytest.approx((1.8, 0.05))
    assert figures.per_1m_tokens == pytest.approx(1.8e6 / (3600 * 636))
    assert figures.electricity_per_1m_tokens == pytest.approx(0.3e6 / (3600 * 636))


def test_owned_with_the_power_that_was_measured() -> None:
    """150 W x 1.2 x 0.40 = 0.072 an hour beside 8,760 / 8,760 = 1 for the box."""
    owned = {"capex": 8760, "life_years": 1, "interest": 0, "pue": 1.2, "kwh_price": 0.4}
    watts = EnergyFigures(joules=15_000.0, watts=150.0)
    assert with_beside({"owned": owned}, energy=watts).parts == pytest.approx({"hardware": 1.0, "electricity": 0.072})
    without = with_beside({"owned": owned})
    assert without.parts == pytest.approx({"hardware": 1.0}) and "electricity unknown" in without.method
    assert without.electricity_per_1m_tokens is None
    rated = with_beside({"owned": owned | {"kw": 0.3}}, energy=watts)  # the hour by 0.3 kW, the part by the meter
    assert rated.parts["electricity"] == pytest.approx(0.144)
    assert rated.electricity_per_1m_tokens == pytest.approx(0.072e6 / (3600 * 636))


def test_input_and_output_apart_and_the_figure_of_inferencex_beside() -> None:
    """6.36 an hour; the engine says 30 s of prefill and 70 s of decode. Input: 0.3 x 6.36 = 1.908 over 600/s:
    1.908 x 10^6 / 2,160,000 = 0.88333. Output: 4.452 over 36/s: 4.452 x 10^6 / 129,600 = 34.352. Weighed by their
    tokens they make the blended 2.7778 again: (600 x 0.88333 + 36 x 34.352) / 636.
    InferenceX charges the whole hour twice: 6.36 x 10^6 / 2,160,000 = 2.9444 and / 129,600 = 49.074."""
    figures = with_beside({"gpu_hour": 6.36}, server={"prefill_s": 30.0, "decode_s": 70.0})
    assert figures.input_share == pytest.approx(0.3)
    assert figures.per_1m_input_tokens == pytest.approx(0.8833333)
    assert figures.per_1m_output_tokens == pytest.approx(34.351852)
    blended = (600 * figures.per_1m_input_tokens + 36 * figures.per_1m_output_tokens) / 636
    assert blended == pytest.approx(figures.per_1m_tokens)
    assert figures.inferencex == pytest.approx({"input": 2.9444444, "output": 49.0740741})
    assert figures.split == "the engine's own time in prefill and decode"


def test_input_and_output_apart_by_what_the_answers_tell() -> None:
    """Nine good answers of 1 s of prefill and 3 s of decode: a quarter is input's. Below 95 % of them: unknown."""
    timings = {"timings": {"prompt_ms": 1000.0, "predicted_ms": 3000}}
    assert told({"gpu_hour": 1}, server=timings).input_share == pytest.approx(0.25)
    made = records(server=timings)
    made[0].server = {"timings": {"prompt_ms": None}}
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="")
    run = analyse_records(made, manifest, Terms(concurrency=1, cost={"gpu_hour": 1}))
    assert run.summary.cost is not None and run.summary.cost.input_share is None


def test_input_and_output_apart_by_given_speeds() -> None:
    """40,000 uncached at 2,000/s: 20 s; 3,600 out at 60/s: 60 s. A quarter is input's. Where the server does not tell
    cached tokens all 60,000 count: 30 s, a third."""
    split = {"prefill": 2000, "decode": 60}
    assert told({"gpu_hour": 1, "split": split}).input_share == pytest.approx(0.25)
    unknown = told({"gpu_hour": 1, "split": split}, cached_tokens=None)
    assert unknown.input_share == pytest.approx(1 / 3) and "taken as uncached" in unknown.method
    alone = told({"gpu_hour": 1})
    assert (alone.split, alone.per_1m_input_tokens, alone.per_1m_output_tokens) == (None, None, None)
    assert "was not measured" in alone.method


API = {"model": "a/b", "input": 2.0, "cached_input": 0.5, "output": 10.0, "as_of": "2026-11", "source": "its page"}


def test_break_even() -> None:
    """A session at the API: 4,000 x 2 + 2,000 x 0.50 + 400 x 10 = 13,000 / 10^6 = 0.013; 0.013 / 6,400 tokens is
    2.03125 a million. 324 sessions an hour bill 4.212, and the hour costs 1.053: break even at a quarter of them, 81.
    With only the 252 good ones: 1.053 / 3.276 = 0.32143."""
    figures = told({"gpu_hour": 1.053, "against": [API, API | {"model": None, "per_request": 0.013}]}, SLOW)
    first, second = figures.break_even
    assert (first.model, first.as_of, first.source) == ("a/b", "2026-11", "its page")
    assert first.per_session == pytest.approx(0.013)
    assert first.per_1m_tokens == pytest.approx(2.03125)
    assert (first.utilisation, first.sessions_per_hour) == pytest.approx((0.25, 81.0))
    assert first.utilisation_at_slo == pytest.approx(0.3214286)
    assert first.prices == {"input": 2.0, "cached_input": 0.5, "output": 10.0}
    assert second.model == "API" and second.utilisation == pytest.approx(0.125)


def test_an_api_against_an_api_has_no_utilisation() -> None:
    (other,) = told({"price": {"input": 1.0, "output": 1.0}, "against": [API]}).break_even
    assert other.per_session == pytest.approx(0.013) and other.utilisation is None


def test_break_even_without_tokens_is_unknown() -> None:
    (other,) = told({"gpu_hour": 1, "against": [API]}, input_tokens=None).break_even
    assert (other.per_session, other.per_1m_tokens, other.utilisation) == (None, None, None)


def test_by_price() -> None:
    """The failed request is billed for what it read. Input: 40,000 x 2 + 20,000 x 0.50 = 90,000; output 3,600 x 10 =
    36,000; together 0.126 for 63,600 tokens, nine sessions, seven good ones, 14,400 bytes."""
    figures = told({"price": API}, SLOW)
    assert (figures.basis, figures.as_of, figures.source) == ("price", "2026-11", "its page")
    assert figures.total == pytest.approx(0.126)
    assert figures.per_1m_tokens == pytest.approx(0.126e6 / 63_600)
    assert figures.per_1m_input_tokens == pytest.approx(1.5)
    assert figures.per_1m_output_tokens == pytest.approx(10.0)
    assert (figures.per_session, figures.per_good_session) == pytest.approx((0.014, 0.018))
    assert figures.per_1k_requests == pytest.approx(14.0)
    assert figures.per_1m_output_bytes == pytest.approx(8.75)


def test_by_price_with_every_kind_of_token() -> None:
    """Of 60,000 in 20,000 cached, 10,000 written; of 3,600 out 900 reasoning; half price as a batch; 0.001 a request.
    30,000 x 1 + 20,000 x 0.1 + 10,000 x 1.25 = 44,500; 2,700 x 4 + 900 x 6 = 16,200; (60,700 / 10^6) / 2 + 0.01."""
    prices = {
        "input": 1.0, "cached_input": 0.1, "cache_write": 1.25, "output": 4.0, "reasoning": 6.0,
        "batch_factor": 0.5, "per_request": 0.001,
    }  # fmt: skip
    figures = told({"price": prices}, cache_write_tokens=1000, reasoning_tokens=100)
    assert figures.total == pytest.approx(0.0607 / 2 + 0.01)
    assert figures.prices == prices


def test_price_where_something_is_unknown() -> None:
    assert told({"price": API}, input_tokens=None).total is None
    uncached = told({"price": API}, cached_tokens=None)
    assert uncached.total == pytest.approx(0.156) and "unknown" in uncached.method  # 60,000 x 2 + 36,000


def test_the_price_of_a_session_is_a_metric() -> None:
    summary = analysed({"price": API, "currency": "CHF"}).summary
    assert summary.metrics["session.cost"].mean == pytest.approx(0.013)
    assert summary.metrics["session.cost"].unit == "CHF"
    assert summary.cost.currency == "CHF"


def test_no_basis_no_cost() -> None:
    assert analysed(None).summary.cost is None
    assert analysed({"currency": "USD"}).summary.cost is None


def test_a_price_list_must_be_whole() -> None:
    with pytest.raises(ResultsError, match="output"):
        analysed({"price": {"input": 1.0}})


def test_an_old_price_is_a_finding_and_no_doubt() -> None:
    validity = analysed({"gpu_hour": 1, "as_of": "2025-11"}).summary.validity
    (finding,) = (found for found in validity.findings if found.code == "price_old")
    assert finding.value == 356  # 2025-11-30 to 2026-11-21


def test_wire_bytes() -> None:
    """9 x 80,000 + 8,000 = 728,000 in and 240,000 out for 3,600 tokens."""
    summary = analysed(None).summary
    assert (summary.wire.bytes_in, summary.wire.bytes_out) == (728_000, 240_000)
    assert scalar(summary, "wire.in_per_output_token") == pytest.approx(202.2222222)
    assert scalar(summary, "wire.out_per_output_token") == pytest.approx(66.6666667)
    silent = analysed(None, output_tokens=0).summary.wire
    assert (silent.in_per_output_token, silent.out_per_output_token) == (None, None)


def test_the_classic_row() -> None:
    """(10 - 2) s over 399 tokens is 20.05 ms; two of nine have 6 s."""
    run = analysed(None)
    machine = {"engine_rss_bytes_max": 4.5e9}
    summary = msgspec.structs.replace(run.summary, server={"machine": machine})
    row = classic_row(summary, run.terms)
    assert (row.concurrency, row.memory_gb) == (1, 4.5)
    assert row.ms_per_token == pytest.approx(8000 / 399)
    assert row.tokens_per_s == pytest.approx(36)
    on_gpu = msgspec.structs.replace(summary, server={"machine": machine | {"gpu_memory_bytes_max": 14e10}})
    assert classic_row(on_gpu).memory_gb == 140
    assert classic_row(Summary()).memory_gb is None


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
