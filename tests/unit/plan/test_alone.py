"""Sessions to be replayed alone: what the plan says of them."""

from __future__ import annotations

from harness.config import Experiment
from harness.plan import make_plan
from harness.plan.explain import explain


def experiment(solo: int) -> Experiment:
    return Experiment.model_validate(
        {
            "backend": {"kind": "sim"},
            "workload": {"kind": "chat", "turns": 2, "input_tokens": 50, "output_tokens": 10},
            "load": {"rate": "5/s", "sessions": 40, "solo": solo, "solo_for": "30s"},
            "cost": {"price": {"input": 1.0, "output": 2.0}},
        }
    )


def test_chosen_sessions_are_one_shard_with_one_slot() -> None:
    plan = make_plan(experiment(3))
    shard = plan.alone([7, 3, 12])
    assert list(shard.indices()) == [7, 3, 12]
    assert (shard.slots(), list(shard.arrivals())) == ([0], [])
    assert (shard.plan.start_limit_ns, shard.plan.warmup_sessions) == (None, 0)
    assert shard.plan.session(7) == plan.session(7)


def test_the_plan_tells_and_prices_them() -> None:
    without, told = (explain(make_plan(experiment(solo))) for solo in (0, 9))
    assert without.cost_ceiling is not None and told.cost_ceiling is not None
    assert told.stop == f"{without.stop}; then 9 sessions once more, each alone, for 30.0 s at most"
    assert told.sessions == without.sessions and told.plan_sha256 == without.plan_sha256
    assert without.cost_ceiling < told.cost_ceiling <= without.cost_ceiling * 51 / 40
