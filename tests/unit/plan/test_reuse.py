"""What an infinite cache would hold, by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.config import Experiment
from harness.plan import make_plan
from harness.plan.reuse import InfiniteCache, planned_reuse
from harness.workloads.builder import SessionBuilder


def shares(*builders: SessionBuilder) -> list[dict[str, float]]:
    cache = InfiniteCache()
    return [cache.play(build.session()) for build in builders]


def test_a_conversation_holds_what_was_said() -> None:
    build = SessionBuilder("chat", 1, 0)
    turn = build.call("one", texts=[build.shared("system", 100), build.text(50)], output=30)
    build.call("two", texts=[build.text(20)], history=turn, output=30)
    [found] = shares(build)
    assert found == {"one": 0.0, "two": pytest.approx(180 / 200)}


def test_shared_text_is_held_from_the_second_session_on_and_own_text_never() -> None:
    builders = []
    for index in range(2):
        build = SessionBuilder("map", 1, index)
        for name in ("a", "b"):
            build.call(name, texts=[build.shared("system", 100), build.text(100)], output=5)
        builders.append(build)
    first, second = shares(*builders)
    assert first == {"a": 0.0, "b": 0.52}  # 100 tokens, and the 4 with which a message begins
    assert second == {"a": 0.52, "b": 0.52}


def test_equal_prompts_are_held_whole_and_shared_parts_only_as_a_prefix() -> None:
    build = SessionBuilder("best", 1, 0)
    prompt = [build.text(40)]
    for name in ("a", "b"):
        build.call(name, texts=prompt, output=5)
    build.call("swapped", texts=[build.text(10), *prompt], output=5)
    [found] = shares(build)
    assert found == {"a": 0.0, "b": 1.0, "swapped": pytest.approx(4 / 50)}


def test_joined_answers_stand_before_the_last_text() -> None:
    build = SessionBuilder("join", 1, 0)
    rules, question = build.text(50), build.text(50)
    a = build.call("a", texts=[rules], output=100)
    b = build.call("b", texts=[rules, question], output=100)
    build.call("join", texts=[rules, question], joins=[a, b], output=5)
    [found] = shares(build)
    assert found["b"] == 0.5
    assert found["join"] == pytest.approx(54 / 300)


@pytest.mark.parametrize(
    ("workload", "least", "most"),
    [
        ({"kind": "react", "steps": 10}, 0.75, 0.97),
        ({"kind": "rag"}, 0.0, 0.5),
        ({"kind": "map_reduce"}, 0.2, 0.8),
        ([{"kind": "chat", "turns": 3}, {"kind": "orchestrator"}], 0.4, 0.97),
    ],
)
def test_patterns(workload: Any, least: float, most: float) -> None:
    plan = make_plan(
        Experiment.model_validate(
            {"backend": {"kind": "sim"}, "workload": workload, "load": {"concurrency": 4, "sessions": 100}}
        )
    )
    held = whole = 0.0
    for index, (session, found) in enumerate(planned_reuse(plan)):
        assert session == plan.session(index).id
        for node in plan.session(index).nodes:
            assert 0 <= found[node.name] <= 1
            held += found[node.name] * node.input_tokens
            whole += node.input_tokens
    assert least < held / whole < most


def test_it_stops_at_the_sessions_looked_at() -> None:
    plan = make_plan(
        Experiment.model_validate(
            {"backend": {"kind": "sim"}, "workload": {"kind": "chat"}, "load": {"concurrency": 1, "duration": "1s"}}
        )
    )
    began = time.process_time()
    assert len(list(planned_reuse(plan, 300))) == 300
    print(f"{(time.process_time() - began) / 300 * 1e6:.0f} us a session")
