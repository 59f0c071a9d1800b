"""Verdicts: pass, fail and inconclusive each for its reason; and what they make of the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ExitCode, ExpressionError
from harness.judge.evaluate import evaluate
from harness.judge.expression import parse, parse_all
from harness.judge.gate import judge_gate
from harness.judge.slo import judge_slo, limits_of
from harness.judge.verdict import exit_code
from harness.metrics.analysis import Analysis
from harness.metrics.summarise import analyse_records
from harness.metrics.summary import SloResult, Summary, Validity, to_json
from harness.metrics.terms import Terms
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record, encode_record

MS = 1_000_000


def calls(ttfts: list[float], *, failed: int = 0, **more: Any) -> list[Record]:
    """One-request sessions a tenth of a second apart, with these ttfts in ms; the last `failed` of them failed."""
    made = []
    for index, ttft in enumerate(ttfts):
        at = index * 100 * MS
        first = at + int(ttft * MS)
        one = Record(
            id=f"r{index}",
            session=f"s{index:07d}",
            node="n",
            kind="chat" if index % 2 else "rag",
            intended_ns=at,
            sent_ns=at,
            first_token_ns=first,
            last_token_ns=first + 50 * MS,
            end_ns=first + 50 * MS,
            input_tokens=100,
            output_tokens=6,
            tokens_source="server",
            clock="kernel",
            **more,
        )
        if index >= len(ttfts) - failed:
            one.status, one.error, one.first_token_ns, one.last_token_ns = "failed", "timeout", None, None
        made.append(one)
    return made


def manifest() -> Manifest:
    return Manifest(run_id="r", name="n", seed=1, started_at="", ended_at="x")


def analysis_of(records: list[Record], limits: tuple[str, ...] = (), **terms: Any) -> Analysis:
    parsed = limits_of(parse_all(limits))
    return analyse_records(records, manifest(), Terms(**({"rate": 10.0, "error_budget": 1.0} | terms)), parsed)


def ttfts(n: int) -> list[float]:
    return np.random.default_rng(5).normal(300, 20, n).tolist()


def judged(analysis: Analysis, text: str) -> SloResult:
    return judge_slo(parse(text), analysis)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("ttft.p50 < 400ms", "pass"),
        ("ttft.p50 < 200ms", "fail"),
        ("ttft.p50 < 300ms", "inconclusive"),
        ("ttft.p50 > 200ms", "pass"),
        ("ttft.p50 > 400ms", "fail"),
        ("ttft.p95 < 400ms", "pass"),
        ("ttft{kind=chat}.p50 < 400ms", "pass"),
        ("ttft.mean < 310ms", "pass"),
        ("ttft.mean < 290ms", "fail"),
        ("ttft.max < 500ms", "pass"),
        ("ttft.min > 250ms", "fail"),
        ("ttft.stddev < 25ms", "pass"),
        ("error_rate < 5%", "pass"),
        ("session.makespan.p90 < 1s", "pass"),
        ("rates.requests_per_s > 5", "pass"),
        ("rates.requests_per_s > 20", "fail"),
        ("rates.offered_sessions_per_s >= 9", "pass"),
    ],
)
def test_verdicts(text: str, verdict: str) -> None:
    told = judged(analysis_of(calls(ttfts(400))), text)
    assert told.verdict == verdict
    assert told.value is not None
    if told.ci95:
        assert told.ci95[0] <= told.value <= told.ci95[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ttft.p95 < 1s", "needs 59, has 40"),
        ("ttft.p95 < 1ms", "needs 59, has 40"),
        ("itl.p50 < 1s", "not measured"),
        ("itl.mean < 1s", "not measured"),
        ("ttft{kind=nobody}.p50 < 1s", "not measured"),
        ("cost.per_session < 1", "no cost is configured"),
        ("goodput_sessions_per_hour > 1", "not measured"),
        ("energy.joules < 1", "not measured"),
    ],
)
def test_what_cannot_be_told_is_inconclusive(text: str, reason: str) -> None:
    told = judged(analysis_of(calls(ttfts(40))), text)
    assert told.verdict == "inconclusive"
    assert told.value is None
    assert reason in told.reason


def test_a_percentile_without_an_upper_bound_can_fail_but_not_pass() -> None:
    analysis = analysis_of(calls(ttfts(62)))
    told = judged(analysis, "ttft.p95 < 1s")
    assert (told.verdict, told.ci95) == ("inconclusive", None)
    assert "needs 73 independent samples" in told.reason
    assert judged(analysis, "ttft.p95 < 100ms").verdict == "fail"


def test_one_value_has_neither_interval_nor_spread() -> None:
    analysis = analysis_of(calls([300.0]), concurrency=1, rate=None)
    assert judged(analysis, "ttft.mean < 1s").verdict == "inconclusive"
    assert judged(analysis, "ttft.stddev < 1s").reason == "one value has no spread"


def test_failures_are_misses() -> None:
    """Every answer was quick, but more than one in twenty never came: p95 is not held."""
    analysis = analysis_of(calls(ttfts(400), failed=60))
    told = judged(analysis, "ttft.p95 < 400ms")
    assert (told.verdict, told.value) == ("fail", None)
    assert "60 of 400 failed" in told.reason
    assert judged(analysis, "ttft.p50 < 400ms").verdict == "pass"
    assert judged(analysis, "interactivity.p5 > 1").verdict == "fail"
    assert judged(analysis, "session.makespan.p95 < 1s").verdict == "fail"
    assert judged(analysis, "error_rate < 5%").verdict == "fail"
    assert judged(analysis, "output_tokens.p95 < 10").verdict == "pass"  # a size, not a promise
    assert analysis.summary.metrics["ttft"].n == 340  # the figure itself is of answers


def test_cost_has_the_interval_of_its_rate() -> None:
    analysis = analysis_of(calls(ttfts(400)), cost={"gpu_hour": 3.6})
    told = judged(analysis, "cost.per_1m_tokens < 10")
    assert told.verdict == "pass"
    assert analysis.summary.cost is not None
    assert told.ci95 == pytest.approx(analysis.summary.cost.ci95)
    assert judged(analysis, "cost.per_session < 0.00001").verdict == "fail"
    priced = analysis_of(calls(ttfts(400)), cost={"price": {"input": 1, "output": 1}})
    assert judged(priced, "cost.per_session < 0.0002").verdict == "pass"
    assert "judged as observed" in judged(priced, "cost.total < 1").reason


def test_goodput_limits_come_from_percentiles_and_maxima() -> None:
    texts = [
        "ttft.p50 < 200ms",
        "ttft.p95 < 500ms",
        "tpot.max <= 50ms",
        "ttft{kind=chat}.p95 < 300ms",
        "interactivity.p5 > 10",
        "interactivity.p50 > 30",
        "session.makespan.p95 < 9s",
        "ttft.mean < 1ms",
        "itl.p95 < 1ms",
        "session.straggler.p95 < 1ms",
        "session.cost.p95 < 1",
        "error_rate < 1%",
        "regress(ttft.p50) < 5%",
    ]
    told = {(limit.metric, limit.labels): (limit.operator, limit.bound) for limit in limits_of(parse_all(texts))}
    assert told == {
        ("ttft", ()): ("<", 0.5),
        ("tpot", ()): ("<=", 0.05),
        ("ttft", (("kind", "chat"),)): ("<", 0.3),
        ("interactivity", ()): (">", 10.0),
        ("session.makespan", ()): ("<", 9.0),
    }


def test_goodput_counts_who_met_everything() -> None:
    records = calls([300.0] * 100, failed=10)
    for one in records[:20]:
        one.first_token_ns = one.sent_ns + 450 * MS  # type: ignore[operator]
    plain = analysis_of(records, ("ttft.p95 < 400ms",))
    assert plain.good is not None
    assert int(plain.good.requests.sum()) == int(plain.good.sessions.sum()) == 70
    labelled = analysis_of(records, ("ttft{kind=chat}.p95 < 400ms", "session.makespan{kind=rag}.p95 < 1ms"))
    assert labelled.good is not None
    assert int(labelled.good.requests.sum()) == 80
    assert int(labelled.good.sessions.sum()) == 35  # chat sessions alone, less ten slow and five failed
    assert analysis_of(records).good is None


def test_a_regression_is_skipped_with_the_way_to_judge_it() -> None:
    told = judge_gate(parse_all(["regress(ttft.p50) < 5%", "ttft.p50 < 1s"]), analysis_of(calls(ttfts(100))))
    assert [result.verdict for result in told] == ["skipped", "pass"]
    assert "--baseline" in told[0].reason


def result(verdict: Any, expr: str = "ttft.p95 < 1s") -> SloResult:
    return SloResult(expr=expr, verdict=verdict)


REGRESS = "regress(ttft.p50) < 5%"


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(), ExitCode.PASSED),
        (Summary(slo=[result("pass")], gate=[result("skipped", REGRESS)]), ExitCode.PASSED),
        (Summary(slo=[result("inconclusive")]), ExitCode.INCONCLUSIVE),
        (Summary(gate=[result("inconclusive")]), ExitCode.INCONCLUSIVE),
        (Summary(slo=[result("inconclusive")], gate=[result("fail", REGRESS)]), ExitCode.REGRESSION),
        (Summary(slo=[result("fail")], gate=[result("fail", REGRESS)]), ExitCode.FAILED),
        (Summary(gate=[result("fail")]), ExitCode.FAILED),
        (Summary(slo=[result("fail")], validity=Validity(verdict="invalid")), ExitCode.INVALID),
        (Summary(slo=[result("pass")], validity=Validity(verdict="suspect")), ExitCode.PASSED),
    ],
)
def test_exit_codes(summary: Summary, code: ExitCode) -> None:
    assert exit_code(summary) == code


def folder_with(parent: Path, records: list[Record], config: dict[str, Any]) -> RunFolder:
    folder = RunFolder.create(parent, "run")
    folder.records_of(0).write_bytes(b"".join(encode_record(one) + b"\n" for one in records))
    folder.write_manifest(manifest())
    folder.experiment.write_text(json.dumps(config))
    return folder


def test_a_folder_is_judged_by_its_own_config(tmp_path: Path) -> None:
    slo = ["ttft.p95 < 400ms", "tpot.p95 < 50ms"]
    config = {"load": {"rate": 10.0}, "slo": slo, "gate": ["regress(ttft.p50) < 5%", "error_rate < 50%"]}
    told = evaluate(folder_with(tmp_path, calls(ttfts(400)), config))
    assert [one.verdict for one in told.summary.slo] == ["pass", "pass"]
    assert [one.verdict for one in told.summary.gate] == ["skipped", "pass"]
    assert told.summary.rates.goodput_requests_per_s == pytest.approx(told.summary.rates.requests_per_s)
    assert exit_code(told.summary) == ExitCode.PASSED
    assert b'"verdict":' in to_json(told.summary)


def test_an_invalid_run_passes_nothing(tmp_path: Path) -> None:
    records = calls(ttfts(100), failed=100)
    told = evaluate(folder_with(tmp_path, records, {"load": {"rate": 10.0}, "slo": ["error_rate < 100%"]}))
    assert exit_code(told.summary) == ExitCode.INVALID


def test_a_config_that_cannot_be_understood_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match="ttfx"):
        evaluate(folder_with(tmp_path, [], {"load": {"rate": 1.0}, "slo": ["ttfx.p95 < 1s"]}))


def test_a_verdict_from_few_misses_tells_no_interval() -> None:
    """70 samples that do not resemble their neighbours: too few for an interval of p95 (73), but enough to bound how
    many exceed the limit (59)."""
    mixed = np.random.default_rng(2).permutation(10 + np.arange(70) / 7).tolist()
    steady = analyse_records(calls(mixed), manifest(), Terms())
    (told,) = [judge_slo(expression, steady) for expression in parse_all(["ttft.p95 < 500ms"])]
    assert (told.verdict, told.ci95) == ("pass", None)
    assert "0 of 70 over the limit" in told.reason
    (over,) = [judge_slo(expression, steady) for expression in parse_all(["ttft.p95 < 18ms"])]
    assert over.verdict != "pass"


def test_few_misses_decide_a_lower_limit_too() -> None:
    """Interactivity is 1 / tpot, 89 to 100 tokens/s: its p5 is surely above 50, and not above 99."""
    records = calls([10.0] * 70)
    for index, one in enumerate(records):
        assert one.first_token_ns is not None
        one.last_token_ns = one.first_token_ns + (50 + index * 37 % 7) * MS
    analysis = analysis_of(records)
    told = judged(analysis, "interactivity.p5 > 50")
    assert (told.verdict, told.ci95) == ("pass", None)
    assert "0 of 70 under the limit" in told.reason
    assert judged(analysis, "interactivity.p5 > 99").verdict == "fail"
