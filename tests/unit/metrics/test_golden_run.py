"""A run of 210 records made by hand: every figure is checked by plain arithmetic that shares no code with ours."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from harness.metrics.analysis import Analysis
from harness.metrics.goodput import Limit
from harness.metrics.summarise import summarise
from harness.metrics.summary import from_json, to_json
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest, WorkerReport
from harness.records.phases import rewrite_phases
from harness.records.reader import read_records
from harness.records.record import Record
from harness.records.snapshot import Health
from harness.records.writer import RecordWriter

MS = 1_000_000
SLOTS, WARMUP, SESSIONS, TURNS, EVENTS = 5, 5, 70, 3, 6
LIMITS = [Limit(metric="ttft", operator="<", bound=0.080), Limit(metric="session.makespan", operator="<=", bound=0.9)]


def records() -> list[Record]:
    """A closed loop of five slots; sizes follow from small residues, a few requests fail."""
    free = [slot * 7 * MS for slot in range(SLOTS)]
    made = []
    for index in range(SESSIONS):
        slot = free.index(min(free))
        now, parent = free[slot], None
        for turn in range(TURNS):
            gap = turn * 40 * MS
            sent = now + gap + 2 * MS
            failed = index % 23 == 7 and turn == 1
            first = 30 + (index * 7 + turn * 13) % 61
            stamps = [(first + step * (4 + (index + turn) % 9)) * 1000 for step in range(EVENTS)]
            end = sent + stamps[-1] * 1000 + 1 * MS
            one = Record(
                id=f"s{index:07d}-{turn}",
                session=f"s{index:07d}",
                session_requests=TURNS,
                node=f"turn-{turn}",
                kind="chat",
                worker=slot % 2,
                after=[parent] if parent else [],
                gap_ns=gap,
                intended_ns=now + gap,
                sent_ns=sent,
                end_ns=end,
                status="failed" if failed else "ok",
                error="timeout" if failed else None,
                clock="kernel",
                planned_output=12,
            )
            if not failed:
                one.first_token_ns = one.first_output_ns = sent + stamps[0] * 1000
                one.last_token_ns = sent + stamps[-1] * 1000
                one.chunks, one.chunk_us = EVENTS, stamps
                one.output_tokens, one.input_tokens, one.tokens_source = 12, 100 + 20 * turn, "server"
                one.cached_tokens = 20 * turn
                one.chunk_tokens = [1, 3, 2, 2, 2, 2] if index % 2 else None
            made.append(one)
            now, parent = end, one.id
            if failed:
                break
        free[slot] = now
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder.create(tmp_path_factory.mktemp("golden"), "golden")
    made = records()
    writers = [RecordWriter(folder.records_of(worker)) for worker in (0, 1)]
    for one in sorted(made, key=lambda one: one.end_ns):
        writers[one.worker].add(one)
    for writer in writers:
        writer.close()
    full, dry = edges(made)
    folder.write_manifest(
        Manifest(
            run_id=folder.id,
            name="golden",
            seed=3,
            started_at="2026-01-01T00:00:00Z",
            ended_at="2026-01-01T00:01:00Z",
            planned_sessions=SESSIONS,
            warmup_sessions=WARMUP,
            target={"backend": "openai", "model": "tiny", "url": "http://127.0.0.1", "engine": "x"},
            workers=[
                WorkerReport(worker=0, full_ns=full - 5, dry_ns=dry + 9, end_ns=1, health=Health()),
                WorkerReport(worker=1, full_ns=full, dry_ns=dry, end_ns=1, health=Health()),
            ],
        )
    )
    folder.experiment.write_text(
        json.dumps(
            {
                "load": {"concurrency": SLOTS, "warmup": WARMUP, "error_budget": 0.05},
                "cost": {"gpu_hour": 2.5, "gpus": 2, "currency": "EUR", "as_of": "2026-01-01"},
            }
        )
    )
    return folder


def edges(made: list[Record]) -> tuple[int, int]:
    """When all slots were taken, and when the first had nothing left to do."""
    arrivals = sorted(one.intended_ns for one in made if not one.after)
    ends: dict[str, int] = {}
    for one in made:
        ends[one.session] = max(one.end_ns, ends.get(one.session, 0))
    return arrivals[SLOTS - 1], min(end for end in ends.values() if end > arrivals[-1])


@pytest.fixture(scope="module")
def analysis(folder: RunFolder) -> Analysis:
    return summarise(folder, LIMITS)


@pytest.fixture(scope="module")
def measured() -> list[Record]:
    """The records of the window by its definition."""
    made = records()
    _, end = edges(made)
    start = min(one.intended_ns for one in made if one.session == f"s{WARMUP:07d}")
    return [one for one in made if one.session >= f"s{WARMUP:07d}" and start <= one.intended_ns <= end]


def test_the_window_opens_with_the_first_counted_session_and_shuts_at_the_first_dry_slot(analysis: Analysis) -> None:
    made = records()
    _, end = edges(made)
    start = min(one.intended_ns for one in made if one.session == f"s{WARMUP:07d}")
    assert (analysis.window.start_ns, analysis.window.end_ns) == (start, end)
    assert analysis.summary.run.window_s == pytest.approx((end - start) / 1e9)
    assert analysis.summary.run.duration_s == pytest.approx(max(one.end_ns for one in made) / 1e9)


def test_counts(analysis: Analysis) -> None:
    counted = [one for one in records() if one.session >= f"s{WARMUP:07d}"]
    failed = [one for one in counted if one.status == "failed"]
    told = analysis.summary.counts
    assert told.requests.sent == len(counted)
    assert told.requests.ok == len(counted) - len(failed)
    assert told.requests.failed == len(failed) == 3
    assert told.requests.by_error == {"timeout": 3}
    assert told.sessions.planned == SESSIONS - WARMUP
    assert told.sessions.failed == 3
    assert told.sessions.finished == SESSIONS - WARMUP - 3


def test_latency(analysis: Analysis, measured: list[Record]) -> None:
    ok = [one for one in measured if one.status == "ok"]
    ttft = [(one.first_token_ns - one.sent_ns) / 1e9 for one in ok]  # type: ignore[operator]
    told = analysis.summary.metrics["ttft"]
    assert told.n == len(ttft) > 100
    assert told.mean == pytest.approx(statistics.fmean(ttft))
    assert told.stddev == pytest.approx(statistics.stdev(ttft))
    assert (told.min, told.max) == pytest.approx((min(ttft), max(ttft)))
    for name, q in {"p50": 50, "p90": 90, "p95": 95}.items():
        assert getattr(told, name) == pytest.approx(np.percentile(ttft, q))
    assert told.p99 is None and told.p999 is None
    first = {one.id: one.chunk_tokens[0] if one.chunk_tokens else 1 for one in ok}
    tpot = [(one.last_token_ns - one.first_token_ns) / 1e9 / (12 - first[one.id]) for one in ok]  # type: ignore[operator]
    assert analysis.summary.metrics["tpot"].mean == pytest.approx(statistics.fmean(tpot))
    assert analysis.summary.metrics["queue_lag"].mean == pytest.approx(0.002)
    e2e = [(one.last_token_ns - one.intended_ns) / 1e9 for one in ok]  # type: ignore[operator]
    assert analysis.summary.metrics["e2e_intended"].max == pytest.approx(max(e2e))
    assert "connect" not in analysis.summary.metrics


def test_itl(analysis: Analysis, measured: list[Record]) -> None:
    gaps: list[float] = []
    for one in measured:
        tokens = one.chunk_tokens or [1] * len(one.chunk_us)
        for before, after, number in zip(one.chunk_us, one.chunk_us[1:], tokens[1:], strict=False):
            gaps += [(after - before) / 1e6 / number] * number
    told = analysis.summary.metrics["itl"]
    assert told.n == len(gaps)
    assert told.mean == pytest.approx(statistics.fmean(gaps))
    assert told.p90 == pytest.approx(np.percentile(gaps, 90), rel=1e-5)


def test_sessions(analysis: Analysis) -> None:
    spans = makespans()
    told = analysis.summary.metrics["session.makespan"]
    assert told.n == len(spans)
    assert told.mean == pytest.approx(statistics.fmean(spans.values()))
    assert told.p50 == pytest.approx(statistics.median(spans.values()))
    assert analysis.summary.metrics["session.critical_path"].mean == pytest.approx(told.mean)
    assert analysis.summary.metrics["session.critical_path.gap"].mean == pytest.approx(0.120)
    assert analysis.summary.metrics["session.critical_path.lag"].mean == pytest.approx(0.006)
    assert analysis.summary.metrics["session.requests"].mean == TURNS
    assert analysis.summary.metrics["session.tokens"].mean == 3 * 12 + 100 + 120 + 140


def makespans() -> dict[str, float]:
    """Of counted sessions that arrived in the window and ended well."""
    made = records()
    _, end = edges(made)
    start = min(one.intended_ns for one in made if one.session == f"s{WARMUP:07d}")
    own: dict[str, list[Record]] = {}
    for one in made:
        own.setdefault(one.session, []).append(one)
    return {
        name: (calls[-1].end_ns - calls[0].intended_ns) / 1e9
        for name, calls in own.items()
        if name >= f"s{WARMUP:07d}" and start <= calls[0].intended_ns <= end and calls[-1].status == "ok"
    }


def test_rates(analysis: Analysis) -> None:
    made = records()
    start, end = analysis.window.start_ns, analysis.window.end_ns
    window = (end - start) / 1e9
    output = total = ended = good = 0.0
    for one in made:
        tokens = one.chunk_tokens or [2] * len(one.chunk_us)
        for stamp, number in zip(one.chunk_us, tokens, strict=True):
            assert one.sent_ns is not None
            output += number * (start <= one.sent_ns + stamp * 1000 <= end)
        if one.input_tokens and one.first_token_ns:
            total += one.input_tokens * (start <= one.first_token_ns <= end)
        if one.status == "ok" and start <= one.end_ns <= end:
            ended += 1
            good += (one.first_token_ns - one.sent_ns) / 1e9 < 0.080  # type: ignore[operator]
    rates = analysis.summary.rates
    assert rates.output_tokens_per_s == pytest.approx(output / window)
    assert rates.total_tokens_per_s == pytest.approx((output + total) / window)
    assert rates.requests_per_s == pytest.approx(ended / window)
    assert rates.goodput_requests_per_s == pytest.approx(good / window)
    assert rates.offered_sessions_per_s is None
    for name, (low, high) in analysis.summary.rates_ci95.items():
        assert low < getattr(rates, name) < high


def test_good_sessions(analysis: Analysis) -> None:
    own: dict[str, list[Record]] = {}
    for one in records():
        own.setdefault(one.session, []).append(one)
    good = done = 0
    for calls in own.values():
        if any(one.status == "failed" for one in calls) or not (
            analysis.window.start_ns <= calls[-1].end_ns <= analysis.window.end_ns
        ):
            continue
        done += 1
        quick = all((one.first_token_ns - one.sent_ns) / 1e9 < 0.080 for one in calls)  # type: ignore[operator]
        good += quick and (calls[-1].end_ns - calls[0].intended_ns) / 1e9 <= 0.9
    rates = analysis.summary.rates
    assert 0 < good < done
    assert rates.sessions_per_hour == pytest.approx(done / analysis.window.seconds * 3600)
    assert rates.goodput_sessions_per_hour == pytest.approx(good / analysis.window.seconds * 3600)


def test_tokens_and_cost(analysis: Analysis) -> None:
    counted = [one for one in records() if one.session >= f"s{WARMUP:07d}" and one.status == "ok"]
    tokens = analysis.summary.tokens
    assert tokens.input == sum(one.input_tokens or 0 for one in counted)
    assert tokens.cached_input == sum(one.cached_tokens or 0 for one in counted)
    assert tokens.output == 12 * len(counted)
    assert (tokens.reasoning, tokens.source) == (None, "server")
    cost, rates = analysis.summary.cost, analysis.summary.rates
    assert cost is not None and rates.total_tokens_per_s and rates.sessions_per_hour
    assert (cost.basis, cost.currency, cost.as_of) == ("gpu_hour", "EUR", "2026-01-01")
    assert cost.per_1m_tokens == pytest.approx(5.0 * 1e6 / (3600 * rates.total_tokens_per_s))
    assert cost.at_utilisation["20"] == pytest.approx(5 * cost.at_utilisation["100"])  # type: ignore[operator]
    assert cost.per_session == pytest.approx(5.0 / rates.sessions_per_hour)
    assert cost.at_slo is not None and cost.at_slo > cost.per_1m_tokens  # type: ignore[operator]
    assert cost.per_1m_output_tokens is None  # nobody measured how the hour was shared


def test_verdict(analysis: Analysis) -> None:
    told = analysis.summary.validity
    assert told.verdict == "suspect"
    assert [(finding.code, finding.severity) for finding in told.findings] == [("error_rate", "warning")]


def test_the_summary_travels_as_json(analysis: Analysis) -> None:
    text = to_json(analysis.summary)
    assert from_json(text) == analysis.summary
    assert json.loads(text)["metrics"]["ttft"]["p99.9"] is None


def test_summarising_corrected_records_changes_nothing(folder: RunFolder, analysis: Analysis) -> None:
    before = to_json(analysis.summary)
    changed = rewrite_phases(folder, analysis.phases())
    assert changed > 0
    again = summarise(folder, LIMITS)
    assert to_json(again.summary) == before
    assert rewrite_phases(folder, again.phases()) == 0
    on_disk = [one.phase for one in read_records(folder.records())]
    assert on_disk == list(analysis.phases())
    assert {phase: on_disk.count(phase) for phase in set(on_disk)} == {
        "warmup": 15,
        "measure": on_disk.count("measure"),
        "drain": len(on_disk) - 15 - on_disk.count("measure"),
    }


def test_a_killed_run_is_told_from_its_records_alone(folder: RunFolder, analysis: Analysis, tmp_path: Path) -> None:
    """Without any worker's report the window is found again: same start, same end."""
    killed = RunFolder.create(tmp_path, "killed")
    for path in folder.records():
        (killed.path / path.name).write_bytes(path.read_bytes() + b'{"id": "torn')
    manifest = folder.read_manifest()
    manifest.workers, manifest.ended_at = [], None
    killed.write_manifest(manifest)
    killed.experiment.write_bytes(folder.experiment.read_bytes())
    told = summarise(killed, LIMITS)
    assert told.table.damage.torn == 2
    assert told.window.start_ns == analysis.window.start_ns
    assert told.window.end_ns == analysis.window.end_ns
    assert told.summary.metrics["ttft"] == analysis.summary.metrics["ttft"]
    assert "interrupted" in [finding.code for finding in told.summary.validity.findings]
