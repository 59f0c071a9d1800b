"""Ratios of independent runs: by hand, and the coverage of their intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.judge.contrast import ratio
from harness.judge.slo import Estimate
from harness.metrics.distribution import distribution


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def test_by_hand() -> None:
    found = ratio([estimate(2.0, 1.6, 2.5)], [estimate(1.0, 0.9, 1.2)])
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2 * math.exp(-math.hypot(math.log(2 / 1.6), math.log(1.2))))
    assert found.high == pytest.approx(2 * math.exp(math.hypot(math.log(2.5 / 2), math.log(1 / 0.9))))


def test_a_reference_cancels_what_is_common() -> None:
    slow = [estimate(2.4, 2.3, 2.5)], [estimate(1.2, 1.19, 1.21)]
    found = ratio([*slow[0], estimate(1.0, 0.99, 1.01)], [*slow[1], estimate(2.0, 1.98, 2.02)])
    assert found is not None and found.value == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, None, math.inf])
def test_no_ratio_of_what_is_not_above_zero(value: float | None) -> None:
    assert ratio([Estimate(value=value)], [estimate(1.0)]) is None


@pytest.mark.parametrize(
    "hole", [estimate(1.0), estimate(1.0, 0.9), estimate(1.0, 0.0, 1.1), estimate(1.0, 0.9, math.inf)]
)
def test_bounds_that_a_run_cannot_tell(hole: Estimate) -> None:
    found = ratio([hole], [estimate(1.0, 0.9, 1.1)])
    assert found is not None
    assert found.low is None or found.high is None


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.93), (0.5, 0.92), (0.9, 0.88)])
@pytest.mark.parametrize("quantity", ["p50", "p90"])
def test_intervals_cover(rho: float, least: float, quantity: str) -> None:
    """Two runs of 500 requests whose latencies resemble their neighbours; the second is 10 % slower."""
    rng = np.random.default_rng(11)
    covered, told = 0, 0
    for _ in range(400):
        found = ratio([run(rng, rho, 1.1, quantity)], [run(rng, rho, 1.0, quantity)])
        assert found is not None
        if found.low is not None and found.high is not None:
            told += 1
            covered += found.low <= 1.1 <= found.high
    assert told >= (150 if rho == 0.9 else 380)  # where n_eff is small, the tail's bound often lies outside the sample
    assert least <= covered / told <= 0.99


def run(rng: np.random.Generator, rho: float, scale: float, quantity: str) -> Estimate:
    noise = rng.normal(0, 1, 500)
    for place in range(1, 500):
        noise[place] = rho * noise[place - 1] + math.sqrt(1 - rho**2) * noise[place]
    stats = distribution(scale * np.exp(0.4 * noise), "s")
    low, high = stats.ci95.get(quantity, (None, None))
    return Estimate(value=getattr(stats, quantity), low=low, high=high)
