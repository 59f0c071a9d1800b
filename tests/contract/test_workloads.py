"""What every registered workload promises: a pure function of (seed, index) to a sound DAG of positive sizes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from harness import registry
from harness.workloads.session import Session, Text, Workload, check

NAMES = registry.names("harness.workloads")
# Parameters for workloads that have none by default; a workload with good defaults needs no line here.
PARAMS: dict[str, dict[str, Any]] = {}
COUNT = 200


def make(name: str) -> Workload:
    workload = registry.load("harness.workloads", name)
    made: Workload = workload(workload.Params.model_validate({"kind": name, **PARAMS.get(name, {})}))
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
        assert (session.index, session.kind) == (index, name)
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
            waited = set(node.after)
            for place in node.after:
                waited |= {earlier for earlier in range(place) if _reaches(nodes, place, earlier)}
            assert {*node.joins, *([] if node.history is None else [node.history])} <= waited


def _reaches(nodes: Any, place: int, earlier: int) -> bool:
    return any(step == earlier or _reaches(nodes, step, earlier) for step in nodes[place].after)


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
