"""Rising for good, or only noise."""

from __future__ import annotations

import numpy as np

from harness.study.saturation import BINS, rises


def test_a_queue_that_grows() -> None:
    rng = np.random.default_rng(1)
    assert all(rises(np.linspace(1, 5, BINS) + rng.normal(0, 0.3, BINS)) for _ in range(50))
    assert rises(np.linspace(1, 5, BINS))


def test_noise_around_a_level() -> None:
    rng = np.random.default_rng(2)
    assert sum(rises(5 + rng.normal(0, 2, BINS)) for _ in range(1000)) <= 20


def test_correlated_noise_around_a_level() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(500):
        noise = rng.normal(0, 1, BINS)
        for place in range(1, BINS):
            noise[place] += 0.6 * noise[place - 1]
        alarms += rises(10 + noise)
    assert alarms <= 50


def test_a_slope_that_does_not_matter() -> None:
    assert not rises(np.linspace(100, 105, BINS))
    assert not rises(np.linspace(5, 1, BINS))


def test_too_little_is_known() -> None:
    series = np.full(BINS, np.nan)
    series[:4] = [1, 2, 3, 4]
    assert not rises(series)
