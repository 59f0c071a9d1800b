"""The paired gate on the simulated engine in virtual time: false alarms and power in 100 seeded A/B tests each.

A run is a closed loop of eight sessions against six slots, so that requests queue; answers differ in length. Both runs
of a pair ask the same, on engines whose step times are drawn apart. The machine is slower or faster from pair to pair
by as much as runs on shared machines are (`BETWEEN_RUNS`), from run to run by 2 %, and drifts by 20 % over the test
where that is asked.
"""

from __future__ import annotations

import math
import random
from statistics import median

import pytest

from harness.errors import ExitCode
from harness.judge.paired import Measured, Pair, judge_pairs, overall
from harness.judge.regression import BETWEEN_RUNS
from harness.judge.term import term
from harness.sim.engine import Engine
from harness.sim.job import Job
from harness.sim.profile import Profile, Scheduler, StepTime

PAIRS, MARGIN, REPEATS = 8, 0.03, 100
SESSIONS, SLOTS, ANSWERS = 8, 6, 28
TERMS = ("ttft.p50", "tpot.p50")


def run(step_s: float, workload: int, engine_seed: int) -> tuple[float, float]:
    """The medians of ttft and tpot in seconds."""
    step_time = StepTime(base=step_s, jitter=0.1)
    profile = Profile(name="p", model="p", scheduler=Scheduler(max_num_seqs=SLOTS), step=step_time)
    engine, rng, now = Engine(profile, seed=engine_seed), random.Random(workload), 0
    first: dict[int, int] = {}
    told: list[tuple[float, float]] = []

    def ask() -> None:
        engine.submit(Job(["prompt"], rng.randint(4, 8), spell=str, arrival_ns=now))

    for _ in range(SESSIONS):
        ask()
    while len(told) < ANSWERS:
        step = engine.begin(now)
        assert step is not None
        now = step.end_ns
        for job, _ in engine.finish():
            first.setdefault(id(job), now)
            if job.produced >= job.target:
                begun = first.pop(id(job))
                told.append(((begun - job.arrival_ns) / 1e9, (now - begun) / 1e9 / (job.target - 1)))
                ask()
    kept = told[SESSIONS:]  # the first have not queued
    return median(ttft for ttft, _ in kept), median(tpot for _, tpot in kept)


def ab(seed: int, effect: float, drift: float) -> ExitCode:
    """One A/B test in the order ABBA."""
    rng = random.Random(seed)
    columns: dict[str, list[Pair]] = {name: [] for name in TERMS}
    for pair in range(PAIRS):
        mood = rng.gauss(0, BETWEEN_RUNS)
        places = (2 * pair, 2 * pair + 1) if pair % 2 == 0 else (2 * pair + 1, 2 * pair)
        arms = []
        for place, slower in zip(places, (0.0, effect), strict=True):
            step_s = 0.01 * math.exp(mood + rng.gauss(0, 0.02)) * (1 + drift * place / (2 * PAIRS - 1)) * (1 + slower)
            arms.append(run(step_s, 1000 * seed + pair, rng.getrandbits(32)))
        for column, base, candidate in zip(columns.values(), *arms, strict=True):
            column.append(Pair(base=base, candidate=candidate))
    return overall(judged(columns))


def judged(columns: dict[str, list[Pair]]) -> list[Measured]:
    return judge_pairs([(term(name), True) for name in columns], list(columns.values()), MARGIN)


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_no_difference_raises_at_most_two_alarms_in_a_hundred(drift: float) -> None:
    assert sum(ab(seed, 0.0, drift) is ExitCode.REGRESSION for seed in range(REPEATS)) <= 2


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_ten_percent_are_found_ninety_times_in_a_hundred(drift: float) -> None:
    assert sum(ab(seed, 0.1, drift) is ExitCode.REGRESSION for seed in range(REPEATS)) >= 90
