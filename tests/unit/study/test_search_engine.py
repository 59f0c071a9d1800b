"""The search and its looks against the simulated engine in virtual time, whose limit is known by Little's law."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.judge.look import look
from harness.metrics.intervals import mean_bounds
from harness.metrics.summary import SloResult
from harness.sim.engine import Engine
from harness.sim.job import Job
from harness.sim.profile import Profile, Scheduler, StepTime
from harness.study.capacity import LENGTHS
from harness.study.search import Hold, search

SLOTS, STEP_S, TOKENS = 16, 0.02, 20
PROFILE = Profile(
    name="slots", model="slots", scheduler=Scheduler(max_num_seqs=SLOTS), step=StepTime(base=STEP_S, jitter=0.05)
)
ANSWERS_PER_S = SLOTS / (TOKENS * STEP_S)
LIMIT_S = 0.7
TRUTH = LIMIT_S * ANSWERS_PER_S  # N sessions wait N / X


def latencies(sessions: int, answers: int, seed: int) -> list[float]:
    """A closed loop: each session asks again at once. Answers have 10 to 30 tokens. The first quarter is warm-up."""
    engine, rng, now = Engine(PROFILE, seed=seed), random.Random(seed), 0
    for _ in range(sessions):
        engine.submit(ask(rng, now))
    told: list[float] = []
    while len(told) < answers:
        step = engine.begin(now)
        assert step is not None
        now = step.end_ns
        for job, _ in engine.finish():
            if job.produced >= job.target:
                told.append((now - job.arrival_ns) / 1e9)
                engine.submit(ask(rng, now))
    return told[answers // 4 :]


def ask(rng: random.Random, now: int) -> Job:
    return Job([str(rng.random())], rng.randint(TOKENS - 10, TOKENS + 10), spell=str, arrival_ns=now)


@pytest.mark.parametrize("seed", range(5))
def test_the_known_limit_is_found_within_ten_percent(seed: int) -> None:
    runs = 0

    def probe(load: float) -> Hold:
        nonlocal runs
        verdict: Hold = "undecided"
        for length in LENGTHS:
            runs += 1
            values = np.array(latencies(int(load), round(800 * length), 1000 * seed + runs))
            result = SloResult(
                expr="e2e.mean < 700ms",
                verdict="inconclusive",
                value=float(values.mean()),
                limit=LIMIT_S,
                ci95=mean_bounds(values),
            )
            verdict = look([result])
            if verdict != "undecided":
                break
        return verdict

    found = search(probe, probe, start=8, least=1, most=4096, whole=True)
    assert found.confirmed
    assert found.holds == pytest.approx(TRUTH, rel=0.1)
    assert runs < 60
