import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from harness.metrics.analysis import Analysis
from harness.metrics.session_figures import Amplification, JoinFigures, PrefixReuse, Slowdown
from harness.metrics.summary import (
    Counts,
    Finding,
    KindFigures,
    MetricStats,
    RequestCounts,
    SessionFigures,
    SloResult,
    Summary,
    Validity,
)
from harness.report.story import Circumstances, tell
from harness.report.terminal import HEIGHT, WIDTH, TerminalReport, lay_out
from harness.units import THIN

CLOSED = Circumstances(
    experiment={"workload": {"kind": "map_reduce", "width": 8}, "load": {"concurrency": 32}},
    place="results/r1",
    has_html=True,
    time_shares=[("queue+prefill", 0.14), ("decode", 0.67), ("tools+think", 0.19)],
)

GOLDEN = """\
 ✓ valid · ✓ SLOs 1 of 1 held                                                         agents-on-vllm

 vllm · Llama-3.1-8B · http://gpu-1:8000/v1
 118 tasks (map_reduce, width 8), closed load: 32 at once, 60.0 s measured
 1_180 requests · 0 failed
                   p50             p95             p99
 session.makespan  6.10 s ±0.20    9.80 s ±0.60    –  (needs 299, have 118)
 ttft              176 ms ±4       402 ms ±21      588 ms
 tpot              20.1 ms ±0.1    31.4 ms         36.0 ms
 where a task's time went  queue+prefill 14 % ▇▇  decode 67 % ▇▇▇▇▇▇▇▇  tools+think 19 % ▇▇
 throughput      4_790 ±90 tok/s out · 61_300 tok/s total · 7_080 good tasks/h
 cost            $0.0412 per 1M tokens · $0.521 per 1M out · $0.00131 per good task  (rented, used
                 100 %; at 50 %: $0.0824 per 1M tokens)
 energy          0.380 J per output token · 1_100 J per session

 → open results/r1/report.html
 → harness run results/r1/experiment.yaml --seed 8
"""


def text(summary: Summary, around: Circumstances = CLOSED) -> str:
    lines = ("".join(part for part, _ in spans).rstrip() for spans in lay_out(tell(summary, around)))
    return "\n".join(lines) + "\n"


def changed(summary: Summary, **parts: Any) -> Summary:
    return msgspec.structs.replace(summary, **parts)


def test_a_valid_closed_run(summary: Summary) -> None:
    assert text(summary).replace(THIN, "_") == GOLDEN


def test_an_invalid_run_begins_with_its_verdict_and_tells_why(summary: Summary) -> None:
    findings = [
        Finding(code="loop_lag", severity="error", message="loop lag p99 23 ms > 10 ms", remedy="use more workers"),
        Finding(code="gc", severity="warning", message="a GC pause of 31 ms"),
    ]
    told = text(changed(summary, validity=Validity(verdict="invalid", findings=findings)))
    assert told.startswith(" ✗ invalid · ✓ SLOs 1 of 1 held")
    place = told.index(" What to know\n ✗ loop lag p99 23 ms > 10 ms\n   → use more workers\n ! a GC pause of 31 ms\n")
    assert place > told.index("throughput")


def test_a_suspect_run_with_a_missed_objective(summary: Summary) -> None:
    slo = [
        SloResult(expr="ttft.p95 < 300ms", verdict="fail", value=0.4021, limit=0.3, ci95=(0.381, 0.423)),
        SloResult(expr="tpot.p95 < 50ms", verdict="pass", value=0.0314, limit=0.05),
    ]
    lines = text(changed(summary, slo=slo, validity=Validity(verdict="suspect"))).splitlines()
    assert lines[0].startswith(" ! suspect · ✗ SLOs 1 of 2 held")
    assert lines[1] == " ✗ ttft.p95 < 300ms: 402 ms (381 … 423 ms)"
    assert not any("tpot.p95 < 50ms" in line for line in lines)


def test_all_missing_percentiles_of_a_row_share_one_note(summary: Summary) -> None:
    metrics = summary.metrics | {"ttft": MetricStats(n=12, p50=0.1)}
    lines = text(changed(summary, metrics=metrics)).splitlines()
    assert " ttft              100 ms          –               –  (p95 needs 59, p99 needs 299, have 12)" in lines


def test_a_simulated_target_is_said_in_the_second_line(summary: Summary) -> None:
    told = changed(summary, target=msgspec.structs.replace(summary.target, simulated=True))
    assert text(told).splitlines()[1].startswith(" ! SIMULATED TARGET")


def test_an_open_run_shows_intended_latency_first(summary: Summary) -> None:
    metrics = {name: MetricStats(n=500, p50=0.5) for name in ("ttft_intended", "e2e_intended", "ttft")}
    around = Circumstances(experiment={"load": {"rate": 5.0, "arrivals": "gamma"}})
    told = text(changed(summary, metrics=metrics), around)
    assert told.index("ttft_intended") < told.index("e2e_intended") < told.index("\n ttft ")
    assert "open load: 5/s arriving (gamma)" in told


def test_a_run_where_all_failed_tells_errors_and_no_percentile(summary: Summary) -> None:
    requests = RequestCounts(sent=40, failed=40, by_error={"http_503": 38, "timeout": 2})
    around = Circumstances(
        experiment={"load": {"concurrency": 4}}, place="results/r1", error_examples={"http_503": "overloaded"}
    )
    failed = changed(summary, counts=Counts(requests=requests), metrics={}, slo=[], cost=None, energy=None)
    told = text(changed(failed, validity=Validity(verdict="invalid")), around)
    assert " ✗ no request succeeded: 40 failed\n" in told
    assert " ✗ http_503: 38 (95.0 %)\n   e.g. overloaded\n ✗ timeout: 2 (5.00 %)\n" in told
    assert "p50" not in told
    assert told.endswith(" → harness probe results/r1/experiment.yaml\n")


def test_an_empty_run_says_that_nothing_was_sent() -> None:
    told = text(Summary(), Circumstances())
    assert "nothing was sent" in told
    assert "p50" not in told


def test_the_worst_case_still_fits_one_screen(summary: Summary) -> None:
    findings = [
        Finding(code=f"f{k}", severity="warning", message="m" * 30 + " word" * 60, remedy="do " * 60) for k in range(20)
    ]
    requests = RequestCounts(sent=1000, ok=900, failed=100, by_error={f"error_{k}": 10 for k in range(10)})
    slo = [SloResult(expr=f"ttft.p95 < {k}ms", verdict="fail", value=0.4, reason="r" * 300) for k in range(9)]
    told = text(
        changed(
            summary,
            target=msgspec.structs.replace(summary.target, simulated=True, model="m" * 300, url="u" * 300),
            validity=Validity(verdict="invalid", findings=findings),
            counts=Counts(requests=requests),
            slo=slo,
        )
    )
    lines = told.splitlines()
    assert len(lines) <= HEIGHT
    assert max(map(len, lines)) <= WIDTH
    assert any("more in the HTML report" in line for line in lines)


def test_hostile_text_carries_no_escape_code(summary: Summary) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    told = text(
        changed(
            summary,
            run=msgspec.structs.replace(summary.run, name=evil),
            target=msgspec.structs.replace(summary.target, model=evil, engine=evil),
            validity=Validity(findings=[Finding(code="x", severity="info", message=evil)]),
        )
    )
    assert "\x1b" not in told
    assert "\x07" not in told


def test_colours_are_three_and_only_on_a_terminal(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    report = TerminalReport()

    def shown(**options: Any) -> str:
        stream = io.StringIO()
        report.show(analysis, Console(file=stream, width=80, highlight=False, **options))
        return stream.getvalue()

    coloured = shown(force_terminal=True, color_system="standard")
    assert "\x1b[32m" in coloured
    assert shown() == report.render(analysis)
    assert "\x1b[3" not in shown(force_terminal=True, no_color=True)


def test_an_agent_run_tells_what_a_task_takes_reuses_and_waits_for(summary: Summary) -> None:
    block = SessionFigures(
        prefix_reuse=PrefixReuse(measured=0.84, ideal=0.88, capture=0.84 / 0.88, requests=900),
        amplification=Amplification(
            sessions=118, requests=10, input_tokens=3000, uncached_input_tokens=480, cached_input_tokens=2520
        ),
        joins=[
            JoinFigures(
                kind="map_reduce",
                fan_out=64,
                joins=118,
                branches=7552,
                quantile=0.95 ** (1 / 64),
                each=3.4812,
                each_ci95=(2.94, 4.08),
                straggler_p50=0.75,
                efficiency_p50=0.58,
            )
        ],
        straggler_share=0.06,
        slowdown=Slowdown(reason="no session was replayed alone: set load.solo"),
    )
    lines = text(changed(summary, sessions=block)).replace(THIN, "_").splitlines()
    assert max(map(len, lines)) <= WIDTH and len(lines) <= HEIGHT
    told = "\n".join(lines)
    assert "tools+think 19 % ▇▇  (stragglers 6.0 %)" in told
    narrow = Circumstances(experiment=CLOSED.experiment, time_shares=[*CLOSED.time_shares, ("client", 0.09)])
    wrapped = text(changed(summary, sessions=block), narrow)
    assert " where a task's time went  (stragglers 6.0 %)\n   queue+prefill 14 %" in wrapped
    assert " a task takes    10 requests · 480 tokens in, 2_520 more from the cache" in told
    assert "84.0 % of prompt tokens were cached · 88.0 % could be · 95.5 % captured" in told
    assert "64 wide: slowest branch 750 ms after the median, efficiency 58 %" in told
    assert "each branch must meet p99.92: 3.48 s (2.94 … 4.08 s)" in told
    assert " slowdown        not known: no session was replayed alone: set load.solo" in told
    assert "harness report results/r1 --session slowest" in told


def test_a_crowded_screen_still_says_why_a_run_is_invalid(summary: Summary) -> None:
    """What the tasks were like gives way to it, the joins before their reuse."""
    join = JoinFigures(kind="map_reduce", fan_out=8, joins=30, branches=240, quantile=0.99, each=1.0, straggler_p50=0.1)
    block = SessionFigures(
        prefix_reuse=PrefixReuse(measured=0.84, ideal=0.88, capture=0.95, requests=900),
        amplification=Amplification(sessions=118, requests=10, input_tokens=3000, uncached_input_tokens=480),
        joins=[join, msgspec.structs.replace(join, fan_out=16)],
        slowdown=Slowdown(reason="no session was replayed alone: set load.solo"),
    )
    findings = [Finding(code="send_lag", severity="error", message="requests left 90 ms late", remedy="more workers")]
    findings += [Finding(code=f"f{k}", severity="info", message="word " * 30) for k in range(5)]
    slo = [SloResult(expr=f"ttft.p95 < {k}ms", verdict="fail", value=0.4, reason="too late") for k in range(4)]
    told = text(
        changed(
            summary,
            sessions=block,
            slo=slo,
            target=msgspec.structs.replace(summary.target, simulated=True),
            validity=Validity(verdict="invalid", findings=findings),
        )
    )
    assert len(told.splitlines()) <= HEIGHT
    assert "requests left 90 ms late" in told and "more workers" in told
    assert "16 wide" not in told and "throughput" in told


def test_kinds_of_a_mix_are_told_apart(summary: Summary) -> None:
    kinds = [
        KindFigures(
            kind=kind,
            sessions=number,
            requests=2 * number,
            metrics={
                "ttft": MetricStats(n=90, p50=0.1, p95=0.2),
                "session.makespan": MetricStats(n=number, p50=1.5),
            },
        )
        for kind, number in (("chat", 90), ("orchestrator", 28))
    ]
    mix = {"kind": "mix", "of": [{"kind": "chat", "weight": 3}, {"kind": "orchestrator"}]}
    around = Circumstances(experiment={"workload": mix, "load": {"concurrency": 32}})
    told = text(changed(summary, sessions=SessionFigures(kinds=kinds)), around)
    assert "118 sessions (mix of chat, orchestrator)" in told
    assert " chat            90 sessions · makespan p50 1.50 s · ttft p50 100 ms p95 200 ms" in told
    assert " orchestrator    28 sessions" in told


def test_reuse_that_the_server_does_not_tell_is_unknown(summary: Summary) -> None:
    silent = SessionFigures(prefix_reuse=PrefixReuse(ideal=0.8, reason="the server tells no cached tokens"))
    assert "unknown: the server tells no cached tokens · 80.0 % could be" in text(changed(summary, sessions=silent))
    nothing = SessionFigures(prefix_reuse=PrefixReuse(ideal=0.01, reason="the server tells no cached tokens"))
    assert "prefix reuse" not in text(changed(summary, sessions=nothing))
