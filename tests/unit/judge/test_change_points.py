"""Change points: a published example, and false alarms and power by seeded simulation."""

from __future__ import annotations

import numpy as np
import pytest

from harness.judge.change_points import LEAST, change_points

# The example of Apache Otava's docs/CSV.md, which tells one change of -12.9 % at the seventh run of the second metric.
STEADY = [154023.0, 138455, 143112, 149190, 132098, 151344, 155145, 148889, 149466, 148209]
FALLEN = [10.43, 10.23, 10.29, 10.91, 10.34, 10.69, 9.23, 9.11, 9.13, 9.03]


def noisy(rng: np.random.Generator, runs: int) -> np.ndarray:
    return np.exp(rng.normal(0, 0.05, runs))


def test_the_published_example() -> None:
    (change,) = change_points(FALLEN)
    assert change.at == 6
    assert change.after / change.before - 1 == pytest.approx(-0.129, abs=0.001)
    assert change_points(STEADY) == []


@pytest.mark.parametrize("runs", [10, 20, 50])
def test_without_a_change_alarms_are_rare(runs: int) -> None:
    rng = np.random.default_rng(1)
    assert sum(bool(change_points(noisy(rng, runs))) for _ in range(300)) <= 0.03 * 300


def test_fifteen_percent_are_found_where_they_are() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(100):
        values = noisy(rng, 20)
        values[10:] *= 1.15
        found += any(abs(change.at - 10) <= 1 for change in change_points(values))
    assert found >= 90


def test_two_changes_are_told_in_order() -> None:
    rng = np.random.default_rng(3)
    values = noisy(rng, 30)
    values[10:20] *= 2
    up, down = change_points(values)
    assert (up.at, down.at) == (10, 20)
    assert up.after > up.before and down.after < down.before


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0] * 2, [3.0] * 20])
def test_too_few_or_equal_runs_have_none(values: list[float]) -> None:
    assert change_points(values) == []


def test_a_change_without_noise() -> None:
    (change,) = change_points([0.0] * LEAST + [1.0] * LEAST)
    assert (change.at, change.p) == (LEAST, 0.0)
