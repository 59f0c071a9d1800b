"""The paired gate: its verdicts by hand, and its false alarms and power by seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import ExitCode
from harness.judge.paired import ASSUMED_SPREAD, Measured, Pair, could_see, holm, judge_pairs, overall
from harness.judge.regression import BETWEEN_RUNS
from harness.judge.student import t_quantile
from harness.judge.term import term

PAIRS = 8
MARGIN = 0.03
REPEATS = 100


def judged(*columns: list[tuple[float | None, float | None]], names: tuple[str, ...] = ("ttft.p50",)) -> list[Measured]:
    pairs = [[Pair(base=base, candidate=candidate) for base, candidate in column] for column in columns]
    return judge_pairs([(term(name), True) for name in names], pairs, MARGIN)


def simulated(seed: int, effect: float, drift: float = 0.0, metrics: int = 1) -> ExitCode:
    """One A/B test. A run's median wanders with the machine, from pair to pair and (`drift`) steadily over the test, of
    which the second run of a pair sees more; within a pair the two arms differ by `ASSUMED_SPREAD`."""
    rng = np.random.default_rng(seed)
    columns: list[list[tuple[float | None, float | None]]] = [[] for _ in range(metrics)]
    for pair in range(PAIRS):
        shared = rng.normal(0, BETWEEN_RUNS)
        places = (2 * pair, 2 * pair + 1) if pair % 2 == 0 else (2 * pair + 1, 2 * pair)
        for column in columns:
            base, candidate = (
                0.2 * math.exp(shared + rng.normal(0, ASSUMED_SPREAD / math.sqrt(2)) + math.log1p(drift) * place / 15)
                for place in places
            )
            column.append((base, candidate * (1 + effect)))
    return overall(judged(*columns, names=("ttft.p50", "tpot.p50", "e2e.p50")[:metrics]))


def count(code: ExitCode, effect: float, **more: float) -> int:
    return sum(simulated(seed, effect, **more) is code for seed in range(REPEATS))  # type: ignore[arg-type]


@pytest.mark.parametrize("drift", [0.0, 0.2])
@pytest.mark.parametrize("metrics", [1, 3])
def test_false_alarms_are_rare(drift: float, metrics: int) -> None:
    assert count(ExitCode.REGRESSION, 0.0, drift=drift, metrics=metrics) <= 2


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_ten_percent_are_found(drift: float) -> None:
    assert count(ExitCode.REGRESSION, 0.10, drift=drift) >= 90


def test_at_the_margin_itself_alarms_keep_to_five_percent() -> None:
    alarms = sum(simulated(seed, MARGIN) is ExitCode.REGRESSION for seed in range(2000))
    assert 70 <= alarms <= 130


def test_the_minimum_detectable_effect_is_detected_nine_times_in_ten() -> None:
    effect = could_see(ASSUMED_SPREAD, PAIRS, MARGIN)
    found = sum(simulated(seed, effect) is ExitCode.REGRESSION for seed in range(1000))
    assert 870 <= found <= 930


def test_an_unpaired_rule_would_have_flaked() -> None:
    """What the paired gate is for: "more than 10 % above a stored baseline" under the same noise."""
    rng = np.random.default_rng(1)
    apart = rng.normal(0, BETWEEN_RUNS, 20_000) - rng.normal(0, BETWEEN_RUNS, 20_000)
    assert (apart > math.log(1.1)).mean() == pytest.approx(0.21, abs=0.01)


def test_bounds_by_hand() -> None:
    logs = [0.10, 0.12, 0.08, 0.10]
    (one,) = judged([(1.0, math.exp(y)) for y in logs])
    error = np.std(logs, ddof=1) / 2
    assert one.change is not None and one.change.value == pytest.approx(math.exp(0.1))
    assert one.worse_low == pytest.approx(math.exp(0.1 - t_quantile(0.95, 3) * error))
    assert one.change.high == pytest.approx(math.exp(0.1 + t_quantile(0.975, 3) * error))
    assert one.verdict == "regression"


def test_higher_is_better_is_turned_round() -> None:
    slower = [(100.0, 89.0), (101.0, 90.0), (99.0, 88.5), (100.0, 90.0)]
    (one,) = judged(slower, names=("rates.output_tokens_per_s",))
    assert one.verdict == "regression"
    assert one.change is not None and one.change.value < 1 < (one.worse_low or 0)


def test_no_difference_at_all_is_the_same() -> None:
    (one,) = judged([(1.0, 1.0)] * 3)
    assert (one.verdict, one.p) == ("same", 1.0)
    assert overall([one]) is ExitCode.PASSED
    (worse,) = judged([(1.0, 1.1)] * 3)
    assert overall([worse]) is ExitCode.REGRESSION


def test_wide_noise_is_inconclusive() -> None:
    found = judged([(1.0, 1.3), (1.0, 0.8), (1.0, 1.1), (1.0, 0.9)])
    assert overall(found) is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("hole", [(None, 1.0), (1.0, None), (0.0, 1.0)])
def test_a_pair_that_tells_nothing_leaves_no_verdict(hole: tuple[float | None, float | None]) -> None:
    (one,) = judged([(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), hole])
    assert one.verdict == "unknown"
    assert one.reason
    assert overall([one]) is ExitCode.INCONCLUSIVE


def test_two_pairs_are_too_few() -> None:
    (one,) = judged([(1.0, 1.0), (1.0, 1.1)])
    assert (one.verdict, one.reason) == ("unknown", "needs 3 pairs, has 2")


def test_nothing_gated_is_no_pass() -> None:
    assert overall([]) is ExitCode.INCONCLUSIVE


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
