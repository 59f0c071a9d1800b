"""Request metrics by hand: one record, one figure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import latency
from harness.metrics import table as table_module
from harness.metrics.table import RecordTable
from harness.metrics.throughput import delivered
from harness.metrics.window import Window
from harness.records.record import Record

MS = 1_000_000


def call(chunk_ms: list[float], *, number: int = 0, sent: int = 100, **more: object) -> Record:
    stamps = [int(ms * 1000) for ms in chunk_ms]
    fields: dict[str, object] = {"output_tokens": len(stamps)}
    if stamps:
        fields |= {
            "first_token_ns": sent * MS + stamps[0] * 1000,
            "first_output_ns": sent * MS + stamps[0] * 1000,
            "last_token_ns": sent * MS + stamps[-1] * 1000,
        }
    return Record(
        id=f"r{number}",
        session="s0000000",
        node=f"n{number}",
        intended_ns=(sent - 20) * MS,
        sent_ns=sent * MS,
        end_ns=sent * MS + (stamps[-1] if stamps else 50) * 1000,
        chunks=len(stamps),
        chunk_us=stamps,
        **(fields | more),  # type: ignore[arg-type]
    )


def table_of(*records: Record) -> RecordTable:
    return RecordTable.of(records)


def rows(table: RecordTable) -> np.ndarray:
    return np.ones(table.n, dtype=np.bool_)


def test_the_basic_figures() -> None:
    table = table_of(call([50, 70, 110], connect_ns=3 * MS, first_output_ns=(100 + 70) * MS))
    assert latency.ttft(table)[0] == pytest.approx(0.050)
    assert latency.ttfo(table)[0] == pytest.approx(0.070)
    assert latency.e2e(table)[0] == pytest.approx(0.110)
    assert latency.ttft_intended(table)[0] == pytest.approx(0.070)
    assert latency.e2e_intended(table)[0] == pytest.approx(0.130)
    assert latency.queue_lag(table)[0] == pytest.approx(0.020)
    assert latency.connect(table)[0] == pytest.approx(0.003)
    assert latency.tpot(table)[0] == pytest.approx(0.060 / 2)
    assert latency.interactivity(table)[0] == pytest.approx(2 / 0.060)


def test_what_is_missing_is_unknown() -> None:
    table = table_of(call([], output_tokens=None), call([50], number=1), call([50, 60], number=2, output_tokens=None))
    assert math.isnan(latency.ttft(table)[0])
    assert math.isnan(latency.connect(table)[0])
    assert np.isnan(latency.tpot(table)).all()
    assert np.isnan(latency.interactivity(table)).all()
    assert np.isnan(latency.max_gap(table)).tolist() == [True, True, False]


@pytest.mark.parametrize(("tokens", "expected"), [([3, 2, 2], 0.060 / 4), (None, 0.060 / 6), ([0, 4, 3], 0.060 / 6)])
def test_tpot_leaves_out_the_tokens_of_the_first_event(tokens: list[int] | None, expected: float) -> None:
    table = table_of(call([50, 70, 110], output_tokens=7, chunk_tokens=tokens))
    assert latency.tpot(table)[0] == pytest.approx(expected)


def test_tpot_needs_tokens_after_the_first_event() -> None:
    table = table_of(call([50, 70], output_tokens=4, chunk_tokens=[4, 0]))
    assert math.isnan(latency.tpot(table)[0])


def test_itl_is_spread_over_the_tokens_of_an_event() -> None:
    table = table_of(call([50, 80, 90], chunk_tokens=[1, 3, 2]))
    assert latency.itl(table, rows(table)).tolist() == pytest.approx([0.01, 0.01, 0.01, 0.005, 0.005])


def test_itl_without_token_counts_keeps_whole_gaps() -> None:
    table = table_of(call([50, 80, 90]))
    assert latency.itl(table, rows(table)).tolist() == pytest.approx([0.03, 0.01])


def test_itl_adds_the_gap_of_an_event_without_tokens_to_the_next() -> None:
    table = table_of(call([50, 80, 90], chunk_tokens=[1, 0, 1]))
    assert latency.itl(table, rows(table)).tolist() == pytest.approx([0.04])


def test_itl_is_in_order_of_time_and_never_across_requests() -> None:
    table = table_of(call([10, 40]), call([], number=1), call([20, 25], number=2))
    assert latency.itl(table, rows(table)).tolist() == pytest.approx([0.005, 0.03])
    assert latency.itl(table, np.array([True, False, False])).tolist() == pytest.approx([0.03])
    assert latency.itl(table, np.array([False, True, False])).size == 0


def test_stalls() -> None:
    steady = [0, 10, 20, 30, 330, 340, 440]
    slow = [0, 300, 600, 900, 3000]
    table = table_of(call(steady), call(slow, number=1), call([5], number=2))
    assert latency.max_gap(table)[:2].tolist() == pytest.approx([0.3, 2.1])
    told = latency.stall_time(table)
    assert told[0] == pytest.approx(0.3)  # the 100 ms gap is under 200 ms
    assert told[1] == pytest.approx(2.1)  # 300 ms is this request's pace, 2,100 ms is more than five times that
    assert math.isnan(told[2])


def test_fluidity_carries_slack_over() -> None:
    """Deadlines 100, 120, 140, ...: an early start pays for a late token."""
    table = table_of(call([40, 110, 139, 200, 201]), call([], number=1))
    told = latency.fluidity(table, 0.100, 0.020)
    assert told[0] == pytest.approx(3 / 5)  # 40 <= 100, 110 <= 120, 139 <= 140; 200 > 160, 201 > 180
    assert math.isnan(told[1])


def test_fluidity_counts_tokens_within_events() -> None:
    table = table_of(call([90, 150], chunk_tokens=[2, 4], output_tokens=6))
    told = latency.fluidity(table, 0.100, 0.020)
    # tokens 0, 1 at 90 ms (due 100, 120): on time. Tokens 2..5 at 150 ms (due 140, 160, 180, 200): three of four.
    assert told[0] == pytest.approx(5 / 6)


def test_labels_select_rows() -> None:
    table = table_of(call([1], agent="planner", depth=1), call([1], number=1, kind="chat"))
    assert table.where({"agent": "planner"}).tolist() == [True, False]
    assert table.where({"depth": "1", "kind": "chat"}).tolist() == [False, False]
    assert table.where({"kind": "chat"}).tolist() == [False, True]
    assert table.where({"kind": "absent"}).tolist() == [False, False]
    assert table.where({"depth": "x"}).tolist() == [False, False]
    assert table.where({}).all()


def test_every_row_function_survives_an_empty_table() -> None:
    table = table_of()
    for function in (latency.ttft, latency.tpot, latency.max_gap, latency.stall_time, latency.interactivity):
        assert function(table).size == 0
    assert latency.itl(table, rows(table)).size == 0
    assert latency.fluidity(table, 0.1, 0.1).size == 0


def test_blocks_of_events_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    records = [
        call(
            np.cumsum(draw.exponential(40, count)).round(3).tolist(),
            number=number,
            sent=int(draw.integers(0, 900)),
            chunk_tokens=[int(n) for n in draw.integers(0, 3, count)] if number % 3 else None,
            after=[f"r{number - 1}"] if number % 2 else [],
        )
        for number, count in enumerate([5, 0, 1, 9, 2, 0, 0, 31, 4, 1, 7])
    ]
    window = Window.__new__(Window)  # only its ends are asked for
    object.__setattr__(window, "start_ns", 200 * MS)
    object.__setattr__(window, "end_ns", 700 * MS)

    def figures() -> list[np.ndarray]:
        table = table_of(*records)
        assert list(zip(table.child.tolist(), table.parent.tolist(), strict=True)) == [
            (n, n - 1) for n in (1, 3, 5, 7, 9)
        ]
        chosen = table.status == 0
        by_row = [latency.max_gap, latency.stall_time, lambda t: latency.fluidity(t, 0.05, 0.04)]
        return [latency.itl(table, chosen), delivered(table, window), *(each(table) for each in by_row)]

    whole = figures()
    for size in (1, 4, 20):
        monkeypatch.setattr(table_module, "_BLOCK_EVENTS", size)
        for cut, known in zip(figures(), whole, strict=True):
            np.testing.assert_array_equal(cut, known)
