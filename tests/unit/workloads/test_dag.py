"""A session in YAML: what is written is what is asked, and what cannot be is said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.workloads.dag import Dag
from harness.workloads.session import check

PLAN = {"name": "plan", "input_tokens": 50, "output_tokens": 9}


def dag(*nodes: dict[str, Any]) -> Dag:
    return Dag(Dag.Params.model_validate({"nodes": list(nodes)}))


def test_as_written() -> None:
    made = dag(
        {**PLAN, "shared_tokens": 100},
        {"name": "a", "after": "plan", "input_tokens": 20, "output_tokens": 4, "gap": "250ms", "agent": "reader"},
        {"name": "b", "after": ["plan"], "input_tokens": 30, "output_tokens": 6, "model": "small"},
        {"name": "end", "history": "plan", "joins": ["a", "b"], "output_tokens": 5},
    ).session(7, 0)
    check(made)
    assert [node.input_tokens for node in made.nodes] == [150, 20, 30, 169]
    assert [node.after for node in made.nodes] == [(), (0,), (0,), (1, 2)]
    assert [(node.agent, node.depth) for node in made.nodes] == [("main", 0), ("reader", 1), ("main", 0), ("main", 0)]
    assert made.nodes[1].gap_ns == 250_000_000 and made.nodes[2].model == "small"


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([PLAN, PLAN], "nodes.1: there are two nodes called plan"),
        ([{**PLAN, "after": "later"}], r"nodes.0: plan needs later, which does not stand above \(none\)"),
        ([{"name": "x", "output_tokens": 5}], "nodes.0: x has an empty prompt"),
        ([PLAN, {"name": "x", "joins": "plan", "need": 2, "output_tokens": 5}], "nodes.1: x needs 2 of its 1 joins"),
        ([{**PLAN, "shared_tokens": {"dist": "uniform", "min": 1, "max": 5}}], "must be a plain number"),
        ([], "at least 1 item"),
    ],
)
def test_what_cannot_be(nodes: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        dag(*nodes)
