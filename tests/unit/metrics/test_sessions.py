"""Session DAGs computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.sessions import SessionTable, session_table
from harness.metrics.table import RecordTable
from harness.records.record import Record

MS = 1_000_000


def call(
    name: str, ready: int, end: int, after: str = "", *, session: str = "s0000000", gap: int = 0, **more: object
) -> Record:
    """A request that is ready at `ready` ms, sent 1 ms later, with its first token 10 ms later, done at `end`."""
    fields: dict[str, object] = {
        "sent_ns": (ready + 1) * MS,
        "first_token_ns": (ready + 11) * MS,
        "last_token_ns": end * MS,
    }
    return Record(
        id=f"{session}/{name}",
        session=session,
        node=name,
        after=[f"{session}/{parent}" for parent in after.split()],
        gap_ns=gap * MS,
        intended_ns=ready * MS,
        end_ns=end * MS,
        **(fields | more),  # type: ignore[arg-type]
    )


def table_of(*records: Record) -> SessionTable:
    return session_table(RecordTable.of(records))


def test_map_reduce_by_hand() -> None:
    told = table_of(
        call("plan", 100, 200),
        call("map-1", 200, 300, "plan"),
        call("map-2", 200, 350, "plan"),
        call("map-3", 200, 600, "plan"),
        call("reduce", 650, 900, "map-1 map-2 map-3", gap=50),
    )
    assert told.n == 1
    assert told.makespan[0] == pytest.approx(0.8)
    assert told.ttfat[0] == pytest.approx((661 - 100) / 1e3)
    assert told.critical_path[0] == pytest.approx(0.8)  # plan -> map-3 -> reduce
    assert told.gap[0] == pytest.approx(0.050)
    assert told.lag[0] == pytest.approx(0.003)
    assert told.prefill[0] == pytest.approx(0.030)
    assert told.decode[0] == pytest.approx(0.8 - 0.083)
    assert told.join_straggler.tolist() == pytest.approx([0.400 - 0.150])
    assert told.join_efficiency.tolist() == pytest.approx([(0.1 + 0.15 + 0.4) / (3 * 0.4)])
    assert told.whole[0] and not told.failed[0] and told.requests[0] == 5


def test_a_branch_of_several_steps_is_taken_back_to_its_fork() -> None:
    """Two sub-agents of two steps each: what a join waits for is the agent, not its last call."""
    told = table_of(
        call("plan", 0, 100),
        call("a-1", 100, 200, "plan"),
        call("a-2", 250, 400, "a-1", gap=50),
        call("b-1", 100, 600, "plan"),
        call("b-2", 600, 700, "b-1"),
        call("join", 700, 800, "a-2 b-2"),
    )
    assert told.join_straggler.tolist() == pytest.approx([0.6 - (0.3 + 0.6) / 2])
    assert told.join_efficiency.tolist() == pytest.approx([(0.3 + 0.6) / (2 * 0.6)])


def test_sessions_are_told_apart_whatever_the_order_of_records() -> None:
    records = [
        call("b", 300, 500, "a", session="s0000007", gap=100),
        call("a", 50, 90, session="s0000003"),
        call("a", 100, 200, session="s0000007"),
        call("b", 90, 400, "a", session="s0000003"),
    ]
    told = table_of(*records)
    assert told.index.tolist() == [7, 3]
    assert told.makespan.tolist() == pytest.approx([0.4, 0.35])
    assert told.gap.tolist() == pytest.approx([0.1, 0.0])
    assert told.critical_path.tolist() == pytest.approx([0.4, 0.35])
    assert told.joins.row.size == 0


def test_foreign_ids_are_ranked_by_arrival() -> None:
    told = table_of(call("a", 9, 20, session="late"), call("a", 1, 20, session="early"))
    assert told.index.tolist() == [1, 0]


def test_a_failed_or_cut_session_is_not_whole() -> None:
    told = table_of(
        call("a", 0, 20, session="s0000000", status="failed", error="timeout"),
        call("a", 0, 20, session="s0000001", session_requests=2),
        call("a", 0, 20, session="s0000002", status="cancelled"),
        call("a", 0, 20, session="s0000003", session_requests=1),
    )
    assert told.failed.tolist() == [True, False, False, False]
    assert told.whole.tolist() == [False, False, False, True]


def test_the_branch_a_quorum_left_behind_does_not_end_the_session() -> None:
    told = table_of(
        call("a", 0, 100),
        call("b", 0, 200),
        call("c", 0, 900, status="cancelled"),
        call("join", 200, 300, "a b"),
    )
    assert told.whole[0]
    assert told.makespan[0] == pytest.approx(0.3)


def test_a_retry_makes_the_failure_before_it_void() -> None:
    told = table_of(
        call("a", 0, 20, status="failed", error="http_503", session_requests=1),
        call("a", 0, 60, attempt=2, session_requests=1),
    )
    assert told.whole[0] and not told.failed[0]
    assert told.requests[0] == 1
    assert told.makespan[0] == pytest.approx(0.06)


def test_tokens_of_a_session() -> None:
    told = table_of(
        call("a", 0, 20, input_tokens=10, output_tokens=5, cached_tokens=4),
        call("b", 20, 40, "a", input_tokens=20, output_tokens=6),
        call("a", 0, 20, session="s0000001", input_tokens=1, output_tokens=2, cached_tokens=0),
    )
    assert told.tokens.tolist() == [41, 3]
    assert np.isnan(told.cached_tokens[0])  # of b it is unknown: unknown is not 0
    assert told.cached_tokens[1] == 0


def test_a_dependency_without_record_is_no_root() -> None:
    told = table_of(call("b", 300, 400, "lost", gap=10))
    assert told.makespan[0] == pytest.approx(0.1)


def test_no_records_no_sessions() -> None:
    told = table_of()
    assert told.n == 0
    assert told.critical_path.size == 0


def test_what_a_join_left_unsent_is_known_whatever_the_order_of_records() -> None:
    """The loser was recorded before the join cancelled what came after it: its record still counts five."""
    records = [
        call("a", 0, 100, session_requests=5),
        call("b", 0, 300, status="cancelled", session_requests=5),
        call("join", 100, 200, "a", session_requests=3),
    ]
    for order in (records, records[::-1]):
        assert table_of(*order).whole[0]
