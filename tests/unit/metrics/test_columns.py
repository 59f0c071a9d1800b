"""What records may hold fits into the columns: hours of waiting, whole answers in one event, clocks of old files."""

from __future__ import annotations

from harness.metrics.latency import max_gap, tpot
from harness.metrics.table import RecordTable
from harness.records.record import Record

HOUR_US = 3_600_000_000


def record(us: list[int], tokens: list[int]) -> Record:
    return Record(
        id="a", session="s0000000", node="n", sent_ns=0, first_token_ns=us[0] * 1000, last_token_ns=us[-1] * 1000,
        end_ns=us[-1] * 1000, output_tokens=sum(tokens), chunks=len(us), chunk_us=us, chunk_tokens=tokens,
    )  # fmt: skip


def test_events_hours_after_the_request() -> None:
    table = RecordTable.of([record([5, 2 * HOUR_US, 3 * HOUR_US], [1, 1, 1])])
    assert table.chunk_us.tolist() == [5, 2 * HOUR_US, 3 * HOUR_US]
    assert max_gap(table).tolist() == [7200.0 - 5e-6]


def test_a_long_answer_in_one_event() -> None:
    table = RecordTable.of([record([100, 1_000_100], [70_000, 2])])
    assert table.chunk_tokens.tolist() == [70_000, 2]
    assert tpot(table).tolist() == [0.5]


def test_an_event_before_its_request() -> None:
    table = RecordTable.of([record([-7, 3], [1, 1])])
    assert table.chunk_us.tolist() == [-7, 3]
