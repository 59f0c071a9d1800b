"""One session told: by its id, as a timeline and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.metrics.session_detail import find_session, session_detail
from harness.metrics.summarise import analyse_records
from harness.metrics.terms import Terms
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record
from harness.report.timeline import MOST_ROWS, WIDTH, timeline
from tests.unit.report.conftest import MS, S, request
from tests.unit.report.test_report_verb import told

Make = Callable[..., RunFolder]
MANIFEST = Manifest(run_id="r", name="n", seed=1, started_at="2026-11-21T08:34:00Z")


def step(node: str, ready: int, end: int, after: str = "", gap: int = 0, **more: object) -> Record:
    """Ready and ended at so many ms; sent 1 ms after it was ready, its first token 10 ms later."""
    begin = 1000 * MS
    return request(
        4,
        node,
        begin + ready * MS,
        10 * MS,
        (end - ready - 11) * MS,
        after=[f"s{4:07d}/{name}" for name in after.split()],
        gap_ns=gap * MS,
        **more,
    )


SESSION = [
    step("plan", 0, 100, cached_tokens=16),
    step("a.1", 100, 300, "plan", agent="a", depth=1),
    step("b.1", 100, 150, "plan", agent="b", depth=1),
    step("a.2", 500, 700, "a.1", gap=200, agent="a", depth=1),
    step("synthesis", 700, 1000, "a.2 b.1"),
]


def test_a_session_by_hand() -> None:
    analysis = analyse_records(SESSION, MANIFEST, Terms(concurrency=1))
    detail = session_detail(analysis, 0)
    assert (detail.session, detail.whole, detail.arrival_s) == ("s0000004", True, 1.0)
    assert detail.makespan_s == pytest.approx(1.0)
    assert [one.node for one in detail.requests] == ["plan", "b.1", "a.1", "a.2", "synthesis"]
    assert detail.critical_path.nodes == ["plan", "a.1", "a.2", "synthesis"]
    path = detail.critical_path
    assert (path.total_s, path.gap_s, path.lag_s) == pytest.approx((1.0, 0.2, 0.004))
    assert (path.prefill_s, path.decode_s) == pytest.approx((0.040, 0.756))
    [join] = detail.joins
    assert (join.node, join.width, join.slowest, join.critical) == ("synthesis", 2, "a.2", True)
    assert join.slowest_s == pytest.approx(0.6)
    assert join.straggler_s == pytest.approx(0.6 - (0.6 + 0.05) / 2)
    assert join.efficiency == pytest.approx(0.65 / 1.2)
    last = detail.requests[-1]
    assert sorted(last.after) == ["a.2", "b.1"]
    assert (last.ready_s, last.sent_s, last.first_token_s, last.end_s) == pytest.approx((0.7, 0.701, 0.711, 1.0))
    assert (detail.requests[0].cached_tokens, last.cached_tokens) == (16, None)


def test_the_timeline_marks_the_critical_path_and_fits() -> None:
    analysis = analyse_records(SESSION, MANIFEST, Terms(concurrency=1))
    lines = timeline(session_detail(analysis, 0)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[1] for line in lines if line.startswith(" ▸") and "path" not in line] == [
        "plan",
        "a.1",
        "a.2",
        "synthesis",
    ]
    rows = {line[3:].split()[0]: line for line in lines if line.startswith((" ▸ ", "   "))}
    assert "·" * 6 in rows["a.2"]  # the tool
    assert "█" * 6 in rows["synthesis"] and "16" in rows["plan"]
    assert any("synthesis: 2 wide · slowest a.2 600 ms, 275 ms after median" in line for line in lines)


def test_failures_and_cancelled_requests_are_seen_and_a_wide_session_is_cut() -> None:
    maps = [step(f"map-{n}", 0, 100 + n) for n in range(200)]
    maps[3] = step("map-3", 0, 290, status="failed", error="timeout")
    maps[4] = step("map-4", 0, 291, status="cancelled", error="cancelled")
    analysis = analyse_records(maps, MANIFEST, Terms(concurrency=1))
    text = timeline(session_detail(analysis, 0))
    assert "failed" in text.splitlines()[0]
    assert "✗" in text and "timeout" in text and "cancelled" in text
    assert f"{200 - MOST_ROWS} further requests not drawn" in text
    assert "▸ map-199" in text and "map-180 " in text and "map-20 " not in text  # the longest ones


def test_sessions_are_found_by_id_number_and_rank(make_run: Make, records: list[Record]) -> None:
    run = make_run(records)
    by_id = json.loads(told(str(run.path), "--session", "s0000003", "--json"))
    assert by_id["session"] == "s0000003" and {one["node"] for one in by_id["requests"]} >= {"reduce"}
    assert json.loads(told(str(run.path), "--session", "3", "--format", "json")) == by_id
    ranks = [json.loads(told(str(run.path), "--session", name, "--json")) for name in ("median", "p95", "slowest")]
    spans = [one["makespan_s"] for one in ranks]
    assert spans == sorted(spans)
    assert "Joins" in told(str(run.path), "--session", "slowest", "--format", "terminal")
    every = json.loads(told(str(run.path), "--session", "all", "--json"))
    assert by_id in every and len(every) == len({one["session"] for one in every})
    with pytest.raises(UsageError, match="unknown format 'terminal'"):
        told(str(run.path), "--session", "all")


def test_an_unknown_session_is_one_line(make_run: Make, records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no session 'x'"):
        told(str(make_run(records).path), "--session", "x")


def test_hostile_names_carry_no_escape_code() -> None:
    records = [step("\x1b[31mred", 0, 100, kind="\x1b]0;title\x07")]
    detail = session_detail(analyse_records(records, MANIFEST, Terms(concurrency=1)), 0)
    assert "\x1b" not in timeline(detail) and "\x07" not in timeline(detail)


def test_a_session_without_an_end_is_found_too() -> None:
    analysis = analyse_records(SESSION, MANIFEST, Terms(concurrency=1))
    assert find_session(analysis, "4") == 0
    assert find_session(analysis, "9") is None


def test_joins_and_kinds_have_their_tables_on_the_page_and_in_markdown(make_run: Make, records: list[Record]) -> None:
    chat = [request(900 + n, "turn-1", S + n * 300 * MS, 10 * MS, 50 * MS, kind="chat") for n in range(9)]
    run = make_run([*records, *chat])
    told(str(run.path), "--format", "html")
    page, text = run.report.read_text(), told(str(run.path), "--format", "md")
    for words in ("The kinds of this mix apart", "Joins: what a p95 of the session asks of each branch"):
        assert page.count(words) >= 1
    for words in ("### Kinds", "### Joins", "| chat |", "| map\\_reduce | 3 |"):
        assert words in text
