"""The builder: calls in, a sound DAG with the right planned lengths out."""

from __future__ import annotations

import pytest

from harness.config.distribution import CountDist, OptionalTokenDist
from harness.workloads.builder import SessionBuilder
from harness.workloads.session import check


def builder(divisor: int = 1) -> SessionBuilder:
    return SessionBuilder("test", 7, 3, divisor=divisor)


def test_planned_lengths() -> None:
    build = builder()
    first = build.call("first", texts=[build.shared("rules", 100), build.text(50)], output=20)
    side = build.call("side", after=first, texts=[build.text(30)], output=10, gap=0.5)
    build.call("last", history=first, joins=side, texts=[build.text(5)], output=7)
    session = build.session()
    check(session)
    assert [node.input_tokens for node in session.nodes] == [150, 30, 150 + 20 + 10 + 5]
    assert [node.after for node in session.nodes] == [(), (0,), (1,)]
    assert session.nodes[1].gap_ns == 500_000_000
    assert (session.index, session.kind) == (3, "test")


def test_what_another_call_has_waited_for_is_no_branch() -> None:
    build = builder()
    plan = build.call("plan", texts=[build.text(9)], output=9)
    ends = []
    for n in range(3):
        step = build.call(f"{n}.1", after=plan, texts=[build.text(9)], output=9)
        ends.append(build.call(f"{n}.2", history=step, output=9))
    build.call("join", history=plan, joins=ends, after=plan, output=9)
    assert build.session().nodes[-1].after == tuple(ends)


def test_a_join_of_some_plans_with_their_mean() -> None:
    build = builder()
    plan = build.call("plan", texts=[build.text(10)], output=5)
    ends = [build.call(f"{n}", after=plan, texts=[build.text(9)], output=10 * (n + 1)) for n in range(4)]
    build.call("join", history=plan, joins=ends, need=2, cancel_losers=True, output=9)
    join = build.session().nodes[-1]
    check(build.session())
    assert (join.need, join.cancel_losers, join.after) == (2, True, tuple(ends))
    assert join.input_tokens == 15 + 50


@pytest.mark.parametrize(("need", "more"), [(0, {}), (3, {}), (1, {"after": 0}), (1, {"history": 1})])
def test_a_need_that_cannot_be(need: int, more: dict[str, int]) -> None:
    build = builder()
    calls = [build.call(f"{n}", texts=[build.text(9)], output=9) for n in range(3)]
    with pytest.raises(ValueError, match="join: need"):
        build.call("join", joins=calls[1:], need=need, output=9, **more)


def test_scale_divides_tokens_but_leaves_something() -> None:
    build = builder(divisor=16)
    assert [build.tokens(amount) for amount in (0, 1, 16, 1000)] == [0, 1, 1, 62]
    build.call("x", texts=[build.text(3), build.shared("none", 0)], output=2)
    node = build.session().nodes[0]
    assert (len(node.texts), node.input_tokens, node.output_tokens) == (1, 1, 1)
    assert build.text(OptionalTokenDist(dist="constant", value=0)).tokens == 0
    assert build.text(160, less=4).tokens == 6


def test_agents_name_and_nest_their_calls() -> None:
    build = builder()
    worker = build.agent("worker-1", stage="round-1.", model="small")
    inner = worker.agent("helper")
    build.call("plan", texts=[build.text(9)], output=9)
    worker.call("step", texts=[worker.text(9)], output=9)
    inner.call("look", texts=[inner.text(9)], output=9)
    inner.call("ask", texts=[inner.text(9)], output=9, agent="other", depth=5, model="large")
    nodes = build.session().nodes
    assert [node.name for node in nodes] == [
        "plan",
        "round-1.worker-1.step",
        "round-1.worker-1.helper.look",
        "round-1.worker-1.helper.ask",
    ]
    assert [node.agent for node in nodes] == ["main", "worker-1", "worker-1.helper", "other"]
    assert [node.depth for node in nodes] == [0, 1, 2, 5]
    assert [node.model for node in nodes] == [None, "small", "small", "large"]
    assert len({text.key for node in nodes for text in node.texts}) == 4


def test_luck_follows_from_seed_and_index() -> None:
    one, two = builder(), builder()
    dist = CountDist(dist="uniform", min=1, max=1000)
    assert [one.count(dist) for _ in range(5)] == [two.count(dist) for _ in range(5)]
    assert one.choose(range(9), 4) == two.choose(range(9), 4)
    assert sorted(one.choose([5, 3, 8], 9)) == [3, 5, 8]
    assert [builder().chance(share) for share in (0.0, 1.0)] == [False, True]
