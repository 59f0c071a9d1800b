"""Room: Experiment -> `Plan`: seeded, hashable, explainable, divisible."""

from harness.plan.plan import Plan, Shard, make_plan

__all__ = ["Plan", "Shard", "make_plan"]
