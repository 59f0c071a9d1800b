"""Every finding appears beyond its limit, is a doubt beyond half of it, and is absent below."""

from __future__ import annotations

from typing import Any

import pytest

from harness.metrics.analysis import Analysis
from harness.metrics.summarise import analyse_records
from harness.metrics.summary import Finding
from harness.metrics.terms import Terms
from harness.metrics.validity import verdict
from harness.records.manifest import Manifest, WorkerReport
from harness.records.record import Record
from harness.records.snapshot import Health

S = 1_000_000_000
MS = 1_000_000


def calls(n: int = 100, **more: Any) -> list[Record]:
    """An open load of one-request sessions, ten a second, all well."""
    fields: dict[str, Any] = {
        "clock": "kernel",
        "input_tokens": 100,
        "output_tokens": 3,
        "tokens_source": "server",
        "planned_input": 100,
        "planned_output": 3,
    }
    made = []
    for index in range(n):
        at = index * 100 * MS
        stamps = {
            "sent_ns": at,
            "first_token_ns": at + 100 * MS,
            "first_output_ns": at + 100 * MS,
            "last_token_ns": at + 120 * MS,
            "end_ns": at + 121 * MS,
        }
        one = Record(
            id=f"r{index}",
            session=f"s{index:07d}",
            node="n",
            intended_ns=at,
            chunks=3,
            chunk_us=[100_000, 110_000, 120_000],
            **(stamps | fields | more),
        )
        made.append(one)
    return made


def manifest(health: Health | None = None, **more: Any) -> Manifest:
    fields: dict[str, Any] = {
        "ended_at": "2026-01-01T00:00:10Z",
        "workers": [WorkerReport(worker=0, health=Health()), WorkerReport(worker=1, health=health or Health())],
    }
    return Manifest(run_id="r", name="n", seed=1, started_at="", **(fields | more))


def analysis_of(records: list[Record], told: Manifest | None = None, **terms: Any) -> Analysis:
    return analyse_records(records, told or manifest(), Terms(**({"rate": 10.0} | terms)))


def severities(analysis: Analysis) -> dict[str, str]:
    return {finding.code: finding.severity for finding in analysis.summary.validity.findings}


def test_a_clean_run_is_valid_and_silent() -> None:
    told = analysis_of(calls()).summary.validity
    assert told.verdict == "valid"
    assert told.findings == []


@pytest.mark.parametrize(
    ("code", "field", "fine", "doubtful", "bad", "records"),
    [
        ("loop_lag", "loop_lag_p99_s", 0.004, 0.006, 0.011, {"clock": "user"}),
        ("send_lag", "send_lag_p99_s", 0.002, 0.003, 0.006, {}),
        ("worker_cpu", "cpu_share", 0.40, 0.50, 0.90, {}),
    ],
)
def test_health_beyond_its_limit(
    code: str, field: str, fine: float, doubtful: float, bad: float, records: dict[str, Any]
) -> None:
    for value, expected in ((fine, None), (doubtful, "warning"), (bad, "error")):
        analysis = analysis_of(calls(**records), manifest(Health(**{field: value})))
        assert severities(analysis).get(code) == expected
        wanted = {None: "valid", "warning": "suspect", "error": "invalid"}[expected]
        assert analysis.summary.validity.verdict == wanted


def test_a_late_loop_is_no_matter_with_kernel_stamps() -> None:
    assert "loop_lag" not in severities(analysis_of(calls(), manifest(Health(loop_lag_p99_s=0.5))))


def test_send_lag_is_held_against_ttft_where_that_is_slow() -> None:
    slow = calls(first_token_ns=1_000 * S)  # ttft of minutes
    assert "send_lag" not in severities(analysis_of(slow, manifest(Health(send_lag_p99_s=0.05))))


def test_gc_pauses_make_suspect() -> None:
    analysis = analysis_of(calls(), manifest(Health(gc_pause_max_s=0.021)))
    assert severities(analysis) == {"gc_pause": "warning"}
    assert analysis.summary.validity.verdict == "suspect"


def test_falling_behind_the_planned_rate() -> None:
    late = calls()
    for one in late:
        one.sent_ns = int(one.intended_ns * 1.03)
    assert severities(analysis_of(late))["achieved_rate"] == "error"
    assert "achieved_rate" not in severities(analysis_of(late, capped=True))


def test_facts_of_machine_and_clock() -> None:
    told = manifest(Health(clock_steps=2), machine={"steal_share": 0.02})
    assert severities(analysis_of(calls(), told)) == {"steal": "error", "clock_step": "warning"}


@pytest.mark.parametrize(("tokens", "expected"), [(100, None), (96, "warning"), (94, "error"), (107, "error")])
def test_fixed_length_that_was_not_kept(tokens: int, expected: str | None) -> None:
    records = calls(output_tokens=tokens, planned_output=100)
    assert severities(analysis_of(records, exact_output=True)).get("short_output") == expected
    assert "short_output" not in severities(analysis_of(records))


def test_missing_and_estimated_tokens() -> None:
    records = calls()
    for one in records[:10]:
        one.output_tokens = one.tokens_source = None
    for one in records[10:20]:
        one.tokens_source = "estimate"
    analysis = analysis_of(records)
    assert severities(analysis) == {"tokens_missing": "error", "tokens_estimated": "info"}
    assert analysis.summary.tokens.source == "estimate"


def test_a_cache_that_an_earlier_run_warmed() -> None:
    records = calls(cached_tokens=50)
    told = manifest(settings={"cached_share": 0.47})
    assert severities(analysis_of(records, told)) == {"cached_tokens": "warning"}
    assert severities(analysis_of(records, manifest(settings={"cached_share": 0.49}))) == {}
    assert severities(analysis_of(records)) == {}  # nobody said what was intended


def test_advice_changes_no_verdict() -> None:
    analysis = analysis_of(calls(planned_input=90, coalesced=2))
    assert severities(analysis) == {"planned_input_error": "warning", "coalesced": "warning"}
    assert analysis.summary.validity.verdict == "valid"


@pytest.mark.parametrize(("failed", "verdict_wanted"), [(0, "valid"), (1, "suspect"), (5, "suspect"), (6, "invalid")])
def test_error_budget(failed: int, verdict_wanted: str) -> None:
    records = calls()
    for one in records[:failed]:
        one.status, one.error = "failed", "http_500"
    assert analysis_of(records).summary.validity.verdict == verdict_wanted


def test_a_run_without_any_success_is_invalid() -> None:
    failed = analysis_of(calls(status="failed", error="connect_refused"), error_budget=1.0)
    assert severities(failed)["all_requests_failed"] == "error"
    assert "connect_refused 100" in failed.summary.validity.findings[0].message
    empty = analysis_of([])
    assert severities(empty)["no_requests"] == "error"
    assert empty.summary.validity.verdict == "invalid"
    assert empty.summary.rates.requests_per_s is None


def test_interrupts_deaths_and_simulation_are_told() -> None:
    workers = [
        WorkerReport(worker=0, interrupted=True),
        WorkerReport(worker=1, died="signal 9", findings=[{"code": "x", "severity": "info", "message": "m", "odd": 1}]),
    ]
    analysis = analysis_of(calls(), manifest(workers=workers, target={"simulated": True}))
    assert severities(analysis) == {
        "worker_died": "error",
        "interrupted": "warning",
        "simulated_target": "info",
        "x": "info",
    }
    killed = analysis_of(calls(), manifest(workers=[], ended_at=None))
    assert severities(killed) == {"interrupted": "warning"}


def test_a_burst_at_the_start_of_a_closed_loop_is_told() -> None:
    assert "start_burst_in_window" in severities(analysis_of(calls(), rate=None, concurrency=1))
    assert "start_burst_in_window" not in severities(analysis_of(calls(), rate=None, concurrency=1, ramp_s=1.0))


def test_few_samples_are_told_with_what_they_lack() -> None:
    analysis = analysis_of(calls(20))
    (finding,) = [one for one in analysis.summary.validity.findings if one.code == "few_samples"]
    assert "ttft p90 needs 29, has 20" in finding.message
    assert analysis.summary.validity.verdict == "valid"


def test_verdict_follows_from_findings() -> None:
    info, advice = (
        Finding(code="x", severity="info", message=""),
        Finding(code="coalesced", severity="warning", message=""),
    )
    doubt, error = Finding(code="y", severity="warning", message=""), Finding(code="z", severity="error", message="")
    assert verdict([]) == verdict([info, advice]) == "valid"
    assert verdict([info, doubt]) == "suspect"
    assert verdict([doubt, error]) == "invalid"
