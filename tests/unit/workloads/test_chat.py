"""chat: a chain of turns whose sizes are those that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from harness.workloads.chat import Chat
from harness.workloads.session import Node, Session


def chat(**params: Any) -> Chat:
    return Chat(Chat.Params.model_validate(params))


def sessions(workload: Chat, seed: int = 7) -> Iterator[Session]:
    index = 0
    while True:
        yield workload.session(seed, index)
        index += 1


def nodes(workload: Chat, count: int) -> list[Node]:
    return [node for session in islice(sessions(workload), count) for node in session.nodes]


def test_a_conversation_word_by_word() -> None:
    workload = chat(turns=3, system_tokens=100, context_tokens=50, input_tokens=10, output_tokens=20, think="2s")
    session = workload.session(7, 5)
    assert [node.name for node in session.nodes] == ["turn-1", "turn-2", "turn-3"]
    assert [node.after for node in session.nodes] == [(), (0,), (1,)]
    assert [node.history for node in session.nodes] == [None, 0, 1]
    assert [node.gap_ns for node in session.nodes] == [0, 2_000_000_000, 2_000_000_000]
    assert [node.input_tokens for node in session.nodes] == [160, 190, 220]
    assert [node.output_tokens for node in session.nodes] == [20, 20, 20]
    first, second, _ = session.nodes
    assert [(text.role, text.tokens, text.shared) for text in first.texts] == [
        ("system", 100, True),
        ("user", 50, False),
        ("user", 10, False),
    ]
    assert [(text.role, text.tokens) for text in second.texts] == [("user", 10)]
    assert {node.agent for node in session.nodes} == {"main"} and {node.depth for node in session.nodes} == {0}


def test_only_the_system_prompt_is_shared() -> None:
    one, two = islice(sessions(chat()), 2)
    shared = [{text.key for text in session.nodes[0].texts if text.shared} for session in (one, two)]
    own = [{text.key for node in session.nodes for text in node.texts if not text.shared} for session in (one, two)]
    assert shared[0] == shared[1] != set()
    assert not own[0] & own[1]


def test_no_system_prompt() -> None:
    node = chat(system_tokens=0, turns=1, input_tokens=9).session(1, 1).nodes[0]
    assert [text.role for text in node.texts] == ["user"]
    assert node.input_tokens == 9


def test_defaults_are_those_of_the_methodology() -> None:
    many = list(islice(sessions(chat()), 5000))
    turns = np.array([len(session.nodes) for session in many])
    assert turns.mean() == pytest.approx(3.5, abs=0.15) and turns.max() <= 20 and turns.min() == 1
    flat = [node for session in many for node in session.nodes]
    asked = [text.tokens for node in flat for text in node.texts if text.role == "user"]
    assert np.median(asked) == pytest.approx(60, rel=0.05)
    assert np.log(asked).std() == pytest.approx(1.0, abs=0.05)
    answered = [node.output_tokens for node in flat]
    assert np.median(answered) == pytest.approx(200, rel=0.05)
    assert np.log(answered).std() == pytest.approx(0.9, abs=0.05)
    thought = [node.gap_ns / 1e9 for node in flat if node.history is not None]
    assert np.median(thought) == pytest.approx(15, rel=0.05) and max(thought) == 60


@pytest.mark.parametrize(("scale", "divisor"), [("full", 1), ("lab", 4), ("laptop", 16)])
def test_scale_divides_tokens_and_nothing_else(scale: str, divisor: int) -> None:
    node = chat(scale=scale, turns=2, system_tokens=1600, input_tokens=160, output_tokens=320).session(1, 1).nodes[1]
    full = chat(turns=2, system_tokens=1600, input_tokens=160, output_tokens=320).session(1, 1).nodes[1]
    assert node.input_tokens * divisor == full.input_tokens
    assert node.output_tokens == 320 // divisor
    assert node.gap_ns == full.gap_ns
    assert chat(scale="laptop", input_tokens=1, output_tokens=1).session(1, 1).nodes[0].output_tokens == 1


def test_a_change_of_one_parameter_leaves_the_luck_of_the_others() -> None:
    one, two = chat().session(7, 3), chat(output_tokens={"dist": "uniform", "min": 5, "max": 9}).session(7, 3)
    assert [node.texts for node in one.nodes] == [node.texts for node in two.nodes]
    assert [node.gap_ns for node in one.nodes] == [node.gap_ns for node in two.nodes]


def test_sessions_of_a_seed_are_not_correlated() -> None:
    first = [session.nodes[0].output_tokens for session in islice(sessions(chat()), 5000)]
    assert abs(np.corrcoef(np.log(first[:-1]), np.log(first[1:]))[0, 1]) < 0.05
