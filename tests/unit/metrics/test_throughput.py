"""Rates: what the window was too short for is unknown, and what was measured as nothing is 0."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.metrics.analysis import Analysis
from harness.metrics.summarise import analyse_records
from harness.metrics.terms import Terms
from harness.records.manifest import Manifest, WorkerReport
from harness.records.record import Record
from harness.report.sentences import throughput

S = 1_000_000_000


def call(index: int, start: float, end: float, **more: Any) -> Record:
    return Record(
        id=f"{index}",
        session=f"s{index:07d}",
        node="only",
        intended_ns=int(start * S),
        sent_ns=int(start * S),
        end_ns=int(end * S),
        **more,
    )


def answered(index: int, start: float, end: float) -> Record:
    last = int(end * S)
    return call(
        index, start, end, first_token_ns=last, last_token_ns=last, input_tokens=9, output_tokens=5, chunks=1,
        chunk_us=[int((end - start) * 1e6)], tokens_source="server",
    )  # fmt: skip


def analysed(records: list[Record], dry_s: float) -> Analysis:
    report = WorkerReport(worker=0, full_ns=0, dry_ns=int(dry_s * S))
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="", ended_at="x", workers=[report])
    return analyse_records(records, manifest, Terms(rate=10.0, cost={"gpu_hour": 2.0, "gpus": 1}))


def codes(analysis: Analysis) -> list[str]:
    return [finding.code for finding in analysis.summary.validity.findings]


def test_a_window_that_shuts_before_the_first_answer_has_no_rates() -> None:
    analysis = analysed([answered(index, index / 10, 5) for index in range(4)], 0.3)
    rates, cost = analysis.summary.rates, analysis.summary.cost
    assert analysis.summary.counts.requests.ok == 4
    assert (rates.requests_per_s, rates.sessions_per_hour) == (None, None)
    assert (rates.output_tokens_per_s, rates.total_tokens_per_s) == (None, None)
    assert rates.offered_sessions_per_s is not None
    assert analysis.summary.rates_ci95 == {}
    assert cost is not None and cost.per_1m_tokens is None and cost.per_session is None
    (told,) = [one for one in analysis.summary.validity.findings if one.code == "rates_unknown"]
    assert told.severity == "info" and "300 ms" in told.message and "load.duration" in told.remedy
    assert "– tok/s out · – requests/s · – sessions/h" in throughput(analysis.summary)


def test_a_session_longer_than_the_window_leaves_the_other_rates_alone() -> None:
    first, second = answered(0, 0, 1), answered(1, 0.5, 9)
    later = msgspec.structs.replace(second, id="0-1", session=first.session, node="later", after=["0"])
    analysis = analysed([first, later], 2)
    assert analysis.summary.rates.requests_per_s == 0.5
    assert analysis.summary.rates.output_tokens_per_s == 2.5
    assert analysis.summary.rates.sessions_per_hour is None
    (told,) = [one for one in analysis.summary.validity.findings if one.code == "rates_unknown"]
    assert told.message.startswith("no session ended")


def test_nothing_but_failures_is_a_rate_of_zero() -> None:
    failed = [call(index, index / 10, 0.2 + index / 10, status="failed", error="http_500") for index in range(4)]
    analysis = analysed(failed, 0.9)
    assert analysis.summary.rates.requests_per_s == analysis.summary.rates.sessions_per_hour == 0.0
    assert "rates_unknown" not in codes(analysis)
