"""Each pattern has the shape that its name says, with the sizes that were asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness import registry
from harness.workloads.session import Node, Session, check


def session(kind: str, index: int = 0, **params: Any) -> Session:
    workload = registry.load("harness.workloads", kind)
    made: Session = workload(workload.Params.model_validate({"kind": kind, **params})).session(7, index)
    check(made)
    return made


def names(made: Session) -> list[str]:
    return [node.name for node in made.nodes]


def node(made: Session, name: str) -> Node:
    return next(each for each in made.nodes if each.name == name)


def needs(made: Session, name: str) -> set[str]:
    return {made.nodes[place].name for place in node(made, name).after}


def test_react_is_a_conversation_that_grows() -> None:
    made = session(
        "react", steps=4, shared_tokens=100, append_tokens=10, output_tokens=5, parallel_tools=2, tool_gap="1s"
    )
    assert names(made) == ["step-1", "step-2", "step-3", "step-4"]
    assert [each.history for each in made.nodes] == [None, 0, 1, 2]
    assert [each.input_tokens for each in made.nodes] == [110, 135, 160, 185]
    assert [each.gap_ns for each in made.nodes] == [0, 10**9, 10**9, 10**9]


def test_react_takes_as_long_as_the_slowest_of_its_tools() -> None:
    few = [each.gap_ns for index in range(60) for each in session("react", index, steps=9, parallel_tools=1).nodes[1:]]
    many = [each.gap_ns for index in range(60) for each in session("react", index, steps=9, parallel_tools=4).nodes[1:]]
    assert np.median(many) > 2 * np.median(few) and max(many) <= 10 * 10**9


def test_code_agent_is_compacted_at_nine_tenths_of_the_window() -> None:
    made = session(
        "code_agent", steps=50, shared_tokens=1000, context_tokens=500, append_tokens=200, output_tokens=100,
        parallel_tools=1, window=10_000,
    )  # fmt: skip
    fresh = [place for place, each in enumerate(made.nodes) if each.history is None]
    assert fresh[0] == 0 and len(fresh) == 3
    for place in fresh[1:]:
        before, after = made.nodes[place - 1], made.nodes[place]
        assert before.input_tokens + before.output_tokens + 200 > 9000
        assert after.after == (place - 1,) and after.input_tokens == 3000 + 200
        assert after.texts[0] == made.nodes[0].texts[0]
    assert max(each.input_tokens for each in made.nodes) <= 9000
    with pytest.raises(ValidationError, match="leave no room"):
        session("code_agent", shared_tokens="20k", window="32k")


def test_map_reduce_of_a_thousand() -> None:
    made = session("map_reduce", width=1000, shared_tokens=50, reduce_tokens=33)
    *maps, reduce = made.nodes
    assert len(maps) == 1000 and not any(each.after for each in maps)
    assert reduce.after == reduce.joins == tuple(range(1000))
    assert reduce.input_tokens == sum(each.output_tokens for each in maps) and reduce.output_tokens == 33
    assert len({each.texts[0] for each in maps}) == 1 and len({each.texts[1].key for each in maps}) == 1000


def test_orchestrator_plans_delegates_and_joins() -> None:
    made = session("orchestrator", rounds=2, children=3, steps=2, child_model="small")
    assert len(made.nodes) == 2 * (1 + 3 * 2 + 1)
    assert needs(made, "round-1.worker-2.step-1") == {"round-1.plan"}
    assert needs(made, "round-1.synthesis") == {f"round-1.worker-{n}.step-2" for n in (1, 2, 3)}
    assert needs(made, "round-2.plan") == {"round-1.synthesis"}
    assert made.nodes[node(made, "round-1.synthesis").history or 0].name == "round-1.plan"
    worker = node(made, "round-2.worker-3.step-1")
    assert (worker.agent, worker.depth, worker.model, worker.history) == ("worker-3", 1, "small", None)
    assert node(made, "round-1.plan").model is None


@pytest.mark.parametrize(
    ("params", "need"),
    [
        ({"join": "all"}, None),
        ({"join": "first"}, 1),
        ({"join": "quorum"}, 2),
        ({"join": "quorum", "quorum": "75%"}, 3),
        ({"join": "quorum", "quorum": "51%"}, 3),
        ({"join": "quorum", "quorum": 1}, None),
    ],
)
def test_orchestrator_joins(params: dict[str, Any], need: int | None) -> None:
    made = session("orchestrator", rounds=1, children=4, steps=1, **params)
    join = node(made, "round-1.synthesis")
    assert join.need == need and join.cancel_losers is (params["join"] != "all")
    kept = session("orchestrator", rounds=1, children=4, steps=1, cancel_losers=False, **params)
    assert not any(each.cancel_losers for each in kept.nodes)


def test_orchestrators_nest() -> None:
    made = session("orchestrator", rounds=1, children=2, steps=1, depth=4)
    assert Counter(each.depth for each in made.nodes) == {0: 2, 1: 4, 2: 8, 3: 16, 4: 16}
    deepest = node(made, "round-1.worker-1.worker-2.worker-1.worker-2.step-1")
    assert deepest.agent == "worker-1.worker-2.worker-1.worker-2"
    assert needs(made, "round-1.worker-1.plan") == {"round-1.plan"}
    assert needs(made, "round-1.synthesis") == {"round-1.worker-1.synthesis", "round-1.worker-2.synthesis"}


def test_plan_execute_replans_now_and_then() -> None:
    assert names(session("plan_execute", steps=2, replan=0)) == ["plan", "step-1", "step-2", "final"]
    assert names(session("plan_execute", steps=2, replan=1)) == [
        "plan", "step-1", "replan-1", "step-2", "replan-2", "final",
    ]  # fmt: skip
    replans = sum("replan" in name for index in range(300) for name in names(session("plan_execute", index)))
    assert replans / 1500 == pytest.approx(0.2, abs=0.05)
    made = session("plan_execute")
    assert [each.history for each in made.nodes] == [None, *range(len(made.nodes) - 1)]


def test_best_of_n_asks_the_same_to_the_byte() -> None:
    *samples, judge = session("best_of_n", samples=5).nodes
    assert len(samples) == 5 and len({each.texts for each in samples}) == 1
    assert judge.joins == (0, 1, 2, 3, 4) and judge.history is None


def test_tree_keeps_the_best() -> None:
    made = session("tree", breadth=3, depth=3, keep=2)
    assert Counter(name.partition("-")[0] for name in names(made)) == {"thought": 15, "evaluation": 15, "answer": 1}
    second = [each for each in made.nodes if each.name.startswith("thought-2.")]
    assert set(Counter(each.history for each in second).values()) == {3}
    assert needs(made, "thought-2.1") == {f"evaluation-1.{n}" for n in (1, 2, 3)}
    assert needs(made, "evaluation-3.6") == {"thought-3.6"}
    assert len({tuple(each.history for each in session("tree", index).nodes) for index in range(40)}) > 10


def test_debate_hears_all_the_others() -> None:
    made = session("debate", agents=3, rounds=2)
    again = node(made, "agent-2.round-2")
    assert needs(made, "agent-2.round-2") == {"agent-1.round-1", "agent-2.round-1", "agent-3.round-1"}
    assert again.history == 1 and again.joins == (0, 2) and again.agent == "agent-2"


def test_rag_finds_some_documents_more_often() -> None:
    found: Counter[str] = Counter()
    for index in range(1000):
        [only] = session("rag", index).nodes
        *docs, question = only.texts
        assert len({doc.key for doc in docs}) == 5 and all(doc.part and doc.shared for doc in docs)
        assert not question.shared and only.input_tokens == 5 * 400 + 40
        found.update(doc.key.rpartition("-")[2] for doc in docs)
    assert [doc for doc, _ in found.most_common(2)] == ["1", "2"]
    flat = Counter(
        text.key for index in range(300) for text in session("rag", index, zipf=0, corpus=10).nodes[0].texts[:-1]
    )
    assert len(flat) == 10 and max(flat.values()) < 1.4 * min(flat.values())
    with pytest.raises(ValidationError, match="the corpus has only 3"):
        session("rag", corpus=3)


@pytest.mark.parametrize(
    ("kind", "params", "count"),
    [("react", {}, (7.5, 10.5)), ("code_agent", {}, (50, 80)), ("chat", {}, (3.0, 4.0))],
)
def test_lengths_of_sessions_are_those_of_the_literature(
    kind: str, params: dict[str, Any], count: tuple[float, float]
) -> None:
    workload = registry.load("harness.workloads", kind)
    made = workload(workload.Params.model_validate(params))
    assert count[0] < np.mean([len(made.session(7, index).nodes) for index in range(300)]) < count[1]
