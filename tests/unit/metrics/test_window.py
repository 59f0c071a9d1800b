"""The measured window in every situation a run can end in."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.sessions import session_table
from harness.metrics.summarise import analyse_records
from harness.metrics.table import RecordTable
from harness.metrics.terms import Terms
from harness.metrics.window import DRAIN, MEASURE, WARMUP, Window, measured_window
from harness.records.manifest import Manifest, ShardOf, WorkerReport
from harness.records.record import Record

S = 1_000_000_000


def call(index: int, start: float, end: float, turn: int = 0, ttft: float = 0.1) -> Record:
    return Record(
        id=f"{index}-{turn}",
        session=f"s{index:07d}",
        node=f"turn-{turn}",
        after=[f"{index}-{turn - 1}"] if turn else [],
        intended_ns=int(start * S),
        sent_ns=int(start * S),
        first_token_ns=int((start + ttft) * S),
        last_token_ns=int(end * S),
        end_ns=int(end * S),
    )


def manifest(*workers: tuple[float | None, float | None], warmup: int = 0) -> Manifest:
    return Manifest(
        run_id="r",
        name="n",
        seed=1,
        started_at="",
        warmup_sessions=warmup,
        workers=[
            WorkerReport(
                worker=number,
                full_ns=None if full is None else int(full * S),
                dry_ns=None if dry is None else int(dry * S),
            )
            for number, (full, dry) in enumerate(workers)
        ],
    )


def window_of(records: list[Record], told: Manifest, terms: Terms) -> Window:
    table = RecordTable.of(records)
    return measured_window(table, session_table(table), told, terms)


def span(window: Window) -> tuple[float, float]:
    return window.start_ns / S, window.end_ns / S


CLOSED = Terms(concurrency=2)
OPEN = Terms(rate=1.0, ramp_s=2.0)
# Two slots: 0 and 1 begin at once, 2 follows 0, 3 follows 1, 4 follows 2; slot of 3 runs dry at 5.
LOOP = [call(0, 0, 2), call(1, 0.5, 3), call(2, 2, 4), call(3, 3, 5), call(4, 4, 7)]


def test_closed_from_the_last_full_to_the_first_dry() -> None:
    window = window_of(LOOP, manifest((0.2, 5.5), (0.5, 5)), CLOSED)
    assert span(window) == (0.5, 5)
    assert window.phases.tolist() == [WARMUP, MEASURE, MEASURE, MEASURE, MEASURE]


def test_closed_without_reports_is_found_in_the_records() -> None:
    assert span(window_of(LOOP, manifest(), CLOSED)) == (0.5, 5)


def test_closed_that_never_was_full_is_measured_whole_and_says_so() -> None:
    window = window_of(LOOP, manifest(), Terms(concurrency=9))
    assert span(window) == (0, 7)
    assert (window.phases == MEASURE).all()
    assert [finding.code for finding in window.findings] == ["whole_load"]


def test_one_worker_that_never_was_full_is_not_overlooked() -> None:
    window = window_of(LOOP, manifest((0.2, 5), (None, 5)), CLOSED)
    assert span(window) == (0.5, 5)  # by the records


def test_warmup_by_count_counts_whole_sessions() -> None:
    records = [*LOOP, call(1, 3.5, 6, turn=1)]
    window = window_of(records, manifest((0.5, 5), warmup=2), CLOSED)
    assert span(window) == (2, 5)
    assert window.phases.tolist() == [WARMUP, WARMUP, MEASURE, MEASURE, MEASURE, WARMUP]
    assert window.counted.tolist() == [False, False, True, True, True]


def test_warmup_by_time() -> None:
    window = window_of(LOOP, manifest((0.5, 5)), Terms(concurrency=2, ramp_s=0.5, warmup_s=2.0))
    assert span(window) == (3, 5)  # the first session after ramp + warm-up
    assert window.counted.tolist() == [False, False, False, True, True]


def test_sessions_of_a_timed_warmup_are_not_planned_for() -> None:
    told = manifest((0.5, 5))
    told.planned_sessions = 5
    analysis = analyse_records(LOOP, told, Terms(concurrency=2, ramp_s=0.5, warmup_s=2.0))
    assert analysis.summary.counts.sessions.planned == analysis.summary.counts.sessions.finished == 2


def test_open_from_ramp_to_the_end_of_arrivals() -> None:
    records = [call(index, float(index), index + 3.0) for index in range(8)]
    window = window_of(records, manifest((None, 6), (None, 7)), OPEN)
    assert span(window) == (2, 7)
    assert window.phases.tolist() == [WARMUP] * 2 + [MEASURE] * 6
    assert span(window_of(records, manifest(), OPEN)) == (2, 7)


def test_later_turns_after_the_window_are_drain() -> None:
    records = [call(index, float(index), index + 1.0) for index in range(6)] + [call(5, 7, 8, turn=1)]
    window = window_of(records, manifest((None, 5)), OPEN)
    assert window.phases.tolist()[-1] == DRAIN


def test_a_run_stopped_within_its_warmup_is_still_told() -> None:
    window = window_of(LOOP[:2], manifest(warmup=10), CLOSED)
    assert span(window) == (0, 3)
    assert window.counted.all()
    assert window.findings[0].code == "whole_load"


def test_no_records() -> None:
    window = window_of([], manifest(), CLOSED)
    assert span(window) == (0, 0)
    assert window.phases.size == 0


def steady_load(seconds: int, slow: int, ttft_late: float = 0.1) -> list[Record]:
    """One request every 100 ms, 0.5 s each; the first `slow` seconds have a ttft of 0.4 s."""
    rng = np.random.default_rng(2)
    return [
        call(n, t, t + 0.5, ttft=(0.4 if t < slow else ttft_late) + float(rng.normal(0, 0.005)))
        for n, t in enumerate(np.arange(0, seconds, 0.1).tolist())
    ]


def test_a_transient_is_cut_off() -> None:
    window = window_of(steady_load(60, 10), manifest((None, 60)), Terms(rate=10.0))
    assert window.start_ns / S == pytest.approx(10, abs=5)
    assert window.start_ns / S >= 10
    assert window.findings == []


def test_a_load_that_never_settles_is_kept_whole_and_told() -> None:
    records = [
        call(n, t, t + 0.5, ttft=0.01 + (t / 60) ** 2 * 0.4) for n, t in enumerate(np.arange(0, 60, 0.1).tolist())
    ]
    window = window_of(records, manifest((None, 60)), Terms(rate=10.0))
    assert window.start_ns == 0
    assert [finding.code for finding in window.findings] == ["not_steady"]
    assert window.findings[0].value == "ttft"


def test_a_queue_that_grows_breaks_littles_law() -> None:
    records = [call(n, t, t + 0.2 + 0.08 * max(0.0, t - 60)) for n, t in enumerate(np.arange(0, 120, 0.05).tolist())]
    window = window_of(records, manifest((None, 120)), Terms(rate=20.0))
    assert "littles_law" in [finding.code for finding in window.findings]


def test_what_comes_after_a_timed_warmup_is_what_was_planned() -> None:
    told = manifest((0.5, 5))
    told.counted_sessions = 7
    terms = Terms(concurrency=2, ramp_s=0.5, warmup_s=2.0)
    counts = analyse_records(LOOP, told, terms).summary.counts.sessions
    assert (counts.planned, counts.finished) == (7, 2)
    told.shard = ShardOf(index=1, of=2)
    assert analyse_records(LOOP, told, terms).summary.counts.sessions.planned == 3
