"""The `sessions` block: prefix reuse, amplification, joins and their tail, kinds, slowdown. All by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.judge.expression import parse_all
from harness.judge.slo import judge_slos
from harness.metrics.join_tail import join_figures
from harness.metrics.prefix import intended_share
from harness.metrics.sessions import session_table
from harness.metrics.slowdown import slowdowns, solo_sample
from harness.metrics.summarise import Beside, analyse
from harness.metrics.table import RecordTable
from harness.metrics.terms import Terms
from harness.records.manifest import Manifest
from harness.records.record import Record

MS = 1_000_000


def call(session: int, name: str, ready: float, end: float, after: str = "", **more: Any) -> Record:
    """A request that is sent at once, with its first token after a fifth of its time. Times in ms."""
    own = f"s{session:07d}"
    fields: dict[str, Any] = {
        "kind": "map_reduce",
        "sent_ns": round(ready * MS),
        "first_token_ns": round((ready + (end - ready) / 5) * MS),
        "last_token_ns": round(end * MS),
        "input_tokens": 100,
        "output_tokens": 10,
        "tokens_source": "server",
    }
    return Record(
        id=f"{own}/{name}",
        session=own,
        node=name,
        after=[f"{own}/{parent}" for parent in after.split()],
        intended_ns=round(ready * MS),
        end_ns=round(end * MS),
        **(fields | more),
    )


def manifest(**settings: Any) -> Manifest:
    return Manifest(run_id="r", name="n", seed=1, started_at="2026-11-21T08:34:00Z", settings=settings)


def told(records: list[Record], beside: Beside | None = None, **settings: Any) -> Any:
    terms = Terms(concurrency=1, solo=3)
    return analyse(RecordTable.of(records), manifest(**settings), terms, (), beside)


CHAIN = [
    call(0, "a", 0, 100, cached_tokens=0),
    call(0, "b", 100, 200, "a", cached_tokens=90),
    call(1, "a", 200, 300, cached_tokens=40),
    call(1, "b", 300, 400, "a", cached_tokens=90),
]


def test_prefix_reuse_and_what_it_could_have_been() -> None:
    found = told(CHAIN, cached_share=0.8).summary.sessions.prefix_reuse
    assert found.measured == pytest.approx(220 / 400)
    assert found.ideal == 0.8
    assert found.capture == pytest.approx(220 / 400 / 0.8)
    assert found.requests == 4 and not found.reason


def test_without_cached_tokens_prefix_reuse_is_unknown_and_says_why() -> None:
    bare = [call(0, "a", 0, 100), call(0, "b", 100, 200, "a")]
    found = told(bare, cached_share=0.8).summary.sessions.prefix_reuse
    assert (found.measured, found.capture, found.ideal) == (None, None, 0.8)
    assert found.reason == "the server tells no cached tokens"


def test_the_intended_share_is_of_the_same_requests_and_noted_for_the_next_telling() -> None:
    planned = [("s0000000", {"a": 0.0, "b": 1.0}), ("s0000001", {"a": 0.5, "b": 1.0}), ("s0000002", {"a": 1.0})]
    analysis = told(CHAIN, Beside(planned=iter(planned)))
    assert analysis.manifest.settings["cached_share"] == pytest.approx(2.5 / 4)
    table = RecordTable.of([*CHAIN[:3], call(1, "b", 300, 400, "a", cached_tokens=90, input_tokens=300)])
    every = np.ones(table.n, dtype=np.bool_)
    assert intended_share(table, every, planned) == pytest.approx((100 + 50 + 300) / 600)
    assert intended_share(table, ~every, planned) is None


@pytest.mark.parametrize(("intended", "suspect"), [(0.54, False), (0.52, True)])
def test_a_cache_that_holds_more_than_the_plan_intends_is_a_finding(intended: float, suspect: bool) -> None:
    findings = told(CHAIN, cached_share=intended).summary.validity.findings
    assert ("cached_tokens" in {finding.code for finding in findings}) is suspect


def test_amplification() -> None:
    found = told(CHAIN).summary.sessions.amplification
    assert (found.sessions, found.requests) == (2, 2)
    assert (found.input_tokens, found.cached_input_tokens, found.uncached_input_tokens) == (200, 110, 90)
    assert (found.output_tokens, found.reasoning_tokens) == (20, None)


def fans(count: int, width: int, seed: int = 5) -> list[Record]:
    """Map and reduce, one after the other, with branches that know nothing of each other."""
    rng = np.random.default_rng(seed)
    records, now = [], 0.0
    for session in range(count):
        took = rng.lognormal(4, 0.5, width)
        maps = [call(session, f"map-{n}", now, now + t) for n, t in enumerate(took)]
        done = now + float(took.max())
        records += [*maps, call(session, "reduce", done, done + 10, " ".join(one.node for one in maps))]
        now = done + 10
    return records


def test_the_join_tail_row() -> None:
    table = RecordTable.of(fans(400, 8))
    sessions = session_table(table)
    [row] = join_figures(table, sessions, np.ones(sessions.n, dtype=np.bool_))
    assert (row.kind, row.fan_out, row.joins, row.branches) == ("map_reduce", 8, 400, 3200)
    assert row.quantile == pytest.approx(0.99361, abs=1e-5)
    took = np.array([(r.end_ns - r.intended_ns) / 1e9 for r in fans(400, 8) if r.node != "reduce"])
    assert row.each == pytest.approx(np.quantile(took, 0.95 ** (1 / 8)))
    assert row.slowest_p95 == pytest.approx(np.quantile(took.reshape(400, 8).max(axis=1), 0.95))
    assert row.each_ci95 is not None and row.slowest_p95_ci95 is not None
    assert row.slowest_p95_ci95[0] <= row.each <= row.slowest_p95_ci95[1]  # independent branches: the same figure
    assert row.each_ci95[0] <= row.slowest_p95 <= row.each_ci95[1]
    assert row.efficiency_p50 is not None and 0 < row.efficiency_p50 < 1


def test_too_few_joins_tell_no_tail_and_those_with_cancelled_branches_none() -> None:
    def rows(records: list[Record]) -> Any:
        table = RecordTable.of(records)
        sessions = session_table(table)
        return join_figures(table, sessions, np.ones(sessions.n, dtype=np.bool_))

    [row] = rows(fans(58, 4))
    assert (row.each, row.slowest_p95) == (None, None)  # 59 joins are the floor of a p95, 4 x 59 branches of theirs
    assert row.straggler_p50 is not None
    cut = fans(3, 4)
    cut += [call(session, "lost", 0, 1, status="cancelled") for session in range(3)]
    assert rows(cut) == []


def test_kinds_of_a_mix() -> None:
    single = [call(number, "a", 400 + number, 410 + number, kind="chat") for number in range(2, 9)]
    block = told([*CHAIN, *single]).summary.sessions
    assert [(kind.kind, kind.sessions, kind.requests) for kind in block.kinds] == [("chat", 7, 7), ("map_reduce", 2, 4)]
    assert block.kinds[0].metrics["e2e"].p50 == pytest.approx(0.010)
    assert block.kinds[1].metrics["session.makespan"].mean == pytest.approx(0.2)
    assert told(CHAIN).summary.sessions.kinds == []


def test_slowdown_rests_on_the_sessions_replayed_alone_but_the_first() -> None:
    load = [call(n, "a", 100 * n, 100 * n + 90) for n in range(10)]
    alone = [call(n, "a", place * 50, place * 50 + 30) for place, n in enumerate((4, 7, 2))]
    alone.append(call(9, "a", 500, 530, status="failed", error="timeout"))
    analysis = told(load, Beside(alone=RecordTable.of(alone)))
    assert analysis.samples.values("session.slowdown").tolist() == pytest.approx([3.0, 3.0])
    assert (analysis.summary.sessions.slowdown.asked, analysis.summary.sessions.slowdown.sessions) == (3, 2)
    assert analysis.summary.metrics["session.slowdown"].unit == "ratio"
    assert analysis.summary.counts.requests.sent == 10  # no other figure counts them
    table = RecordTable.of(load)
    assert np.isnan(slowdowns(table, session_table(table), None)).all()


def test_without_a_replay_slowdown_is_unknown_and_says_how_to_know_it() -> None:
    analysis = analyse(RecordTable.of(CHAIN), manifest(), Terms(concurrency=1))
    assert "session.slowdown" not in analysis.summary.metrics
    assert analysis.summary.sessions is not None
    assert "load.solo" in analysis.summary.sessions.slowdown.reason
    [verdict] = judge_slos(parse_all(["session.slowdown.p50 < 2"]), analysis)
    assert verdict.verdict == "inconclusive" and "load.solo" in verdict.reason


def test_the_sample_is_drawn_by_the_seed_from_the_measured_sessions() -> None:
    analysis = told([call(n, "a", 100 * n, 100 * n + 90) for n in range(40)])
    one = solo_sample(analysis, 5)
    assert one == solo_sample(analysis, 5)
    assert len(set(one)) == 6 and set(one) <= set(range(40))
    analysis.manifest.seed += 1
    assert one != solo_sample(analysis, 5)
    assert len(solo_sample(analysis, 500)) <= 40
