"""What every registered workload promises: a pure function of (seed, index) to a sound DAG of positive sizes."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import registry
from harness.config import Experiment
from harness.plan import make_plan
from harness.workloads.session import Session, Text, Workload, check

NAMES = registry.names("harness.workloads")
# Parameters for workloads that have none by default; a workload with good defaults needs no line here.
TRACES = Path(__file__).parents[1] / "unit" / "workloads" / "traces"
PARAMS: dict[str, dict[str, Any]] = {
    "dag": {
        "nodes": [
            {
                "name": "ask",
                "shared_tokens": 50,
                "input_tokens": {"dist": "uniform", "min": 5, "max": 90},
                "output_tokens": 9,
            },
            {"name": "a", "after": "ask", "input_tokens": 70, "output_tokens": 8, "gap": "1s"},
            {"name": "b", "history": "ask", "output_tokens": 8},
            {"name": "end", "joins": ["a", "b"], "need": 1, "cancel_losers": True, "output_tokens": 5},
        ]
    },
    "mix": {"of": [{"kind": "chat", "weight": 3}, {"kind": "orchestrator", "join": "quorum"}]},
    "replay": {"path": str(TRACES / "harness.jsonl")},
}
KINDS = {"mix": {"chat", "orchestrator"}}
COUNT = 60


def make(name: str, **params: Any) -> Workload:
    workload = registry.load("harness.workloads", name)
    made: Workload = workload(workload.Params.model_validate({"kind": name, **PARAMS.get(name, {}), **params}))
    return made


def encoded(workload: Workload, seed: int, index: int) -> bytes:
    return msgspec.json.encode(workload.session(seed, index))


def texts(session: Session) -> list[Text]:
    return [text for node in session.nodes for text in node.texts]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def workload(name: str) -> Workload:
    return make(name)


def test_same_arguments_same_session(workload: Workload, name: str) -> None:
    for index in range(COUNT):
        assert encoded(workload, 7, index) == encoded(workload, 7, index) == encoded(make(name), 7, index)


def test_order_does_not_matter(workload: Workload, name: str) -> None:
    forwards = [encoded(workload, 7, index) for index in range(COUNT)]
    backwards = [encoded(make(name), 7, index) for index in reversed(range(COUNT))]
    assert forwards == backwards[::-1]


def test_seeds_and_indices_differ(workload: Workload) -> None:
    assert len({encoded(workload, 7, index) for index in range(COUNT)}) == COUNT
    assert all(encoded(workload, 7, index) != encoded(workload, 8, index) for index in range(COUNT))


def test_every_session_is_a_dag_in_topological_order(workload: Workload, name: str) -> None:
    for index in range(COUNT):
        session = workload.session(7, index)
        check(session)
        assert session.index == index and session.kind in KINDS.get(name, {name})
        assert session.nodes and not session.nodes[0].after


def test_sizes_are_positive_and_prompts_hold_at_least_their_own_texts(workload: Workload) -> None:
    for index in range(COUNT):
        for node in workload.session(7, index).nodes:
            assert node.output_tokens >= 1
            assert node.input_tokens >= max(1, sum(text.tokens for text in node.texts))
            assert node.gap_ns >= 0
            assert all(text.tokens >= 1 for text in node.texts)
            assert node.texts or node.history is not None or node.joins


def test_history_is_waited_for(workload: Workload) -> None:
    for index in range(COUNT):
        nodes = workload.session(7, index).nodes
        for node in nodes:
            waited, stack = set(), [*node.after]
            while stack:
                place = stack.pop()
                if place not in waited:
                    waited.add(place)
                    stack.extend(nodes[place].after)
            assert {*node.joins, *([] if node.history is None else [node.history])} <= waited


def test_planned_prompts_are_what_they_inherit_join_and_add(workload: Workload) -> None:
    for index in range(COUNT):
        nodes = workload.session(7, index).nodes
        for node in nodes:
            history = nodes[node.history] if node.history is not None else None
            inherited = history.input_tokens + history.output_tokens if history else 0
            joined = sum(nodes[join].output_tokens for join in node.joins)
            if node.need is not None:
                joined = round(joined * node.need / len(node.joins))
            assert node.input_tokens == inherited + joined + sum(text.tokens for text in node.texts)


def test_every_message_has_a_role_that_follows_from_its_parts(workload: Workload) -> None:
    for index in range(COUNT):
        for node in workload.session(7, index).nodes:
            for text, following in pairwise(node.texts):
                assert not text.part or text.role == following.role


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_together_play_the_same_sessions_as_one(workload: Workload, name: str, workers: int) -> None:
    experiment = Experiment.model_validate(
        {
            "seed": 7,
            "backend": {"kind": "sim"},
            "workload": {"kind": name, **PARAMS.get(name, {})},
            "load": {"concurrency": 8, "sessions": 40},
        }
    )
    whole = [make_plan(experiment).session(index) for index in range(40)]
    shards = [make_plan(experiment).shard(worker, workers) for worker in range(workers)]
    found = {index: shard.plan.session(index) for shard in shards for index in shard.indices()}
    assert [found[index] for index in range(40)] == whole


def test_small_scales_leave_no_empty_prompt(name: str) -> None:
    workload = make(name, scale="laptop")
    for index in range(COUNT):
        for node in workload.session(7, index).nodes:
            assert node.input_tokens >= 1 and node.output_tokens >= 1


def test_shared_texts_are_the_same_in_all_sessions_of_a_run(workload: Workload) -> None:
    sizes: dict[str, int] = {}
    for index in range(COUNT):
        for text in texts(workload.session(7, index)):
            if text.shared:
                assert sizes.setdefault(text.key, text.tokens) == text.tokens


def test_texts_of_a_session_are_told_apart_by_key(workload: Workload) -> None:
    for index in range(COUNT):
        sizes: dict[str, set[int]] = {}
        for text in texts(workload.session(7, index)):
            sizes.setdefault(text.key, set()).add(text.tokens)
        assert all(len(lengths) == 1 for lengths in sizes.values())


def test_any_index_and_seed_can_be_asked_for(workload: Workload) -> None:
    for seed, index in ((0, 0), (2**63 - 1, 0), (0, 10**9), (2**63 - 1, 2**31)):
        check(workload.session(seed, index))


def test_another_process_makes_the_same_bytes(workload: Workload, name: str) -> None:
    script = (
        "import sys, msgspec\n"
        "from harness import registry\n"
        f"workload = registry.load('harness.workloads', {name!r})\n"
        f"made = workload(workload.Params.model_validate({{'kind': {name!r}, **{PARAMS.get(name, {})!r}}}))\n"
        "for index in range(50): sys.stdout.buffer.write(msgspec.json.encode(made.session(7, index)) + b'\\n')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "99"}, capture_output=True, check=True, timeout=60
    )
    assert found.stdout.splitlines() == [encoded(workload, 7, index) for index in range(50)]


def test_broken_sessions_are_found_by_the_check() -> None:
    session = make("chat").session(7, 0)
    first = session.nodes[0]
    for broken in (
        (msgspec.structs.replace(first, after=(0,)),),
        (msgspec.structs.replace(first, history=3),),
        (first, first),
    ):
        with pytest.raises(ValueError, match="session s0000000"):
            check(msgspec.structs.replace(session, nodes=broken))
