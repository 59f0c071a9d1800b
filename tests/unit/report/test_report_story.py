from typing import Any

import msgspec
import pytest

from harness.metrics.summary import (
    Counts,
    Finding,
    MetricStats,
    RequestCounts,
    SessionCounts,
    SloResult,
    Summary,
    TargetInfo,
    Tokens,
    Validity,
)
from harness.report import sentences
from harness.report.story import Circumstances, tell

CLOSED = {"workload": {"kind": "map_reduce", "width": 8}, "load": {"concurrency": 32}}
OPEN = {"workload": {"kind": "chat", "turns": {"dist": "geometric"}}, "load": {"rate": 10.0, "arrivals": "poisson"}}


def changed(summary: Summary, **parts: Any) -> Summary:
    return msgspec.structs.replace(summary, **parts)


def test_a_closed_run_in_words(summary: Summary) -> None:
    story = tell(summary, Circumstances(experiment=CLOSED))
    assert story.asked == "118 tasks (map_reduce, width 8), closed load: 32 at once, 60.0 s measured"
    assert [row.key for row in story.rows] == ["session.makespan", "ttft", "tpot"]
    assert story.words == "Nothing was found that speaks against these figures."
    assert story.target == "vllm · Llama-3.1-8B · http://gpu-1:8000/v1"


def test_an_open_run_tells_first_what_users_feel(summary: Summary) -> None:
    metrics = summary.metrics | {name: MetricStats(n=9, p50=1.0) for name in ("ttft_intended", "e2e_intended")}
    story = tell(changed(summary, metrics=metrics), Circumstances(experiment=OPEN))
    assert [row.key for row in story.rows][:2] == ["ttft_intended", "e2e_intended"]
    assert "(chat), open load: 10/s arriving (Poisson)" in story.asked


def test_single_requests_are_told_by_their_own_latency(summary: Summary) -> None:
    metrics = summary.metrics | {"session.requests": MetricStats(n=9, mean=1.0), "e2e": MetricStats(n=9, p50=1.0)}
    story = tell(changed(summary, metrics=metrics), Circumstances(experiment=CLOSED))
    assert [row.key for row in story.rows] == ["ttft", "tpot", "e2e"]


def test_estimated_tokens_are_called_so(summary: Summary) -> None:
    assert "estimated" not in tell(summary, Circumstances()).throughput
    story = tell(changed(summary, tokens=Tokens(source="estimate")), Circumstances())
    assert story.estimated
    assert "tokens are estimated" in story.throughput


def test_verdicts_of_objectives_are_counted(summary: Summary) -> None:
    results = [
        SloResult(expr="ttft.p95 < 500ms", verdict="pass", value=0.4),
        SloResult(expr="tpot.p95 < 10ms", verdict="fail", value=0.031, ci95=(0.03, 0.032)),
        SloResult(expr="error_rate < 1%", verdict="inconclusive", value=0.008, reason="too few requests"),
    ]
    story = tell(changed(summary, slo=results), Circumstances())
    assert story.slo_verdict is not None
    assert (story.slo_verdict.text, story.slo_verdict.tone) == ("SLOs 1 of 3 held, 1 inconclusive", "bad")
    assert [line.text for line in story.slo] == [
        "ttft.p95 < 500ms: 400 ms",
        "tpot.p95 < 10ms: 31.0 ms (30.0 … 32.0 ms)",
        "error_rate < 1%: 0.800 %, too few requests",
    ]
    assert "Not held: tpot.p95 < 10ms." in story.words
    assert "Too little evidence for: error_rate < 1%." in story.words


@pytest.mark.parametrize(
    ("expr", "value", "told"),
    [
        ("cost.per_1m_tokens < 1", 0.5, "$0.500"),
        ("rates.output_tokens_per_s > 10", 12.0, "/s"),
        ("regress(ttft.p50) < 5%", 0.118, "11.8 %"),
        ("session.makespan.p95 < 20s", 3.5, "3.50 s"),
        ("fluidity.mean > 90%", 0.99, "99.0 %"),
        ("unheard_of > 3", 4.0, "4"),
    ],
)
def test_an_objective_is_told_in_the_unit_of_its_metric(summary: Summary, expr: str, value: float, told: str) -> None:
    story = tell(changed(summary, slo=[SloResult(expr=expr, verdict="fail", value=value)]), Circumstances())
    assert told in story.slo[0].text.removeprefix(expr)


def test_gates_are_told_with_the_objectives(summary: Summary) -> None:
    gate = [SloResult(expr="regress(ttft.p50) < 5%", verdict="skipped", reason="no baseline")]
    line = tell(changed(summary, gate=gate), Circumstances()).slo[-1]
    assert (line.tone, line.text) == ("plain", "regress(ttft.p50) < 5%: –, no baseline")


def test_findings_come_gravest_first_with_their_remedies(summary: Summary) -> None:
    findings = [
        Finding(code="a", severity="info", message="by the way"),
        Finding(code="b", severity="error", message="the client was late", remedy="use more workers"),
        Finding(code="c", severity="warning", message="gc"),
    ]
    story = tell(changed(summary, validity=Validity(verdict="invalid", findings=findings)), Circumstances())
    assert [line.code for line in story.findings] == ["b", "c", "a"]
    assert [line.mark for line in story.findings] == ["✗", "!", "·"]
    assert story.findings[0].remedy == "use more workers"
    assert story.words == "Do not use these figures: see 1 finding below."


def test_a_simulated_target_is_said_once_and_loudly(summary: Summary) -> None:
    finding = Finding(code="simulated_target", severity="info", message="simulated")
    told = changed(summary, target=TargetInfo(simulated=True), validity=Validity(findings=[finding]))
    story = tell(told, Circumstances())
    assert "SIMULATED" in story.warnings[0].text
    assert story.findings == []


@pytest.mark.parametrize(
    ("around", "requests", "words"),
    [
        (Circumstances(interrupted=True), RequestCounts(sent=3, ok=3), "interrupted"),
        (Circumstances(unended=True), RequestCounts(sent=3, ok=3), "did not end by itself"),
        (Circumstances(), RequestCounts(), "nothing was sent"),
        (Circumstances(), RequestCounts(sent=3, failed=3), "no request succeeded: 3 failed"),
    ],
)
def test_what_went_wrong_is_said_under_the_verdict(
    summary: Summary, around: Circumstances, requests: RequestCounts, words: str
) -> None:
    counts = Counts(sessions=SessionCounts(), requests=requests)
    story = tell(changed(summary, counts=counts), around)
    assert any(words in line.text for line in story.warnings)


def test_a_run_without_a_measured_request_says_so(summary: Summary) -> None:
    story = tell(changed(summary, metrics={}), Circumstances())
    assert any("no latency to tell" in line.text for line in story.warnings)
    assert story.rows == []


def test_errors_come_by_frequency_with_an_example(summary: Summary) -> None:
    requests = RequestCounts(sent=100, ok=90, failed=10, by_error={"http_500": 3, "timeout": 7})
    around = Circumstances(error_examples={"http_500": "out of\nmemory"})
    errors = tell(changed(summary, counts=Counts(requests=requests)), around).errors
    assert [line.text for line in errors] == ["timeout: 7 (7.00 %)", "http_500: 3 (3.00 %)"]
    assert [line.remedy for line in errors] == ["", "out of memory"]


def test_the_next_command_helps_with_what_is_missing(summary: Summary) -> None:
    around = Circumstances(experiment=CLOSED, place="results/r1")
    assert tell(summary, around).next_commands == ["harness run results/r1/experiment.yaml --seed 8"]
    assert tell(summary, around).open_report == "harness report results/r1 --format html"
    unsure = changed(summary, slo=[SloResult(expr="ttft.p95 < 1s", verdict="inconclusive")])
    assert tell(unsure, around).next_commands == ["harness run results/r1/experiment.yaml -o load.duration=320s"]
    failed = changed(summary, counts=Counts(requests=RequestCounts(sent=3, failed=3)))
    assert tell(failed, around).next_commands == ["harness probe results/r1/experiment.yaml"]
    assert tell(summary, Circumstances()).next_commands == []
    shown = Circumstances(place="results/r1", has_html=True)
    assert tell(summary, shown).open_report == "open results/r1/report.html"


def test_money_and_energy(summary: Summary) -> None:
    story = tell(summary, Circumstances())
    assert story.cost == (
        "$0.0412 per 1M tokens · $0.521 per 1M out · $0.00131 per good session"
        "  (rented, used 100 %; at 50 %: $0.0824 per 1M tokens)"
    )
    assert story.energy.startswith("0.380 J per output token")
    assert tell(changed(summary, cost=None, energy=None), Circumstances()).cost == ""


def test_a_pattern_of_ones_own_is_called_as_its_file_is() -> None:
    """Where the file lies says nothing to a reader, and much of whose machine it was."""
    told = sentences.asked(Summary(), {"workload": {"kind": "/home/me/agents/my_agent.py:research"}})
    assert "(my_agent.py:research)" in told
