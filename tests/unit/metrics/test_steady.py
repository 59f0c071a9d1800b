"""MSER-5 on a known transient, the in-flight series, and Little's law."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.steady import in_flight, littles_law, means_by_second, mser5


def test_mser_cuts_a_known_transient() -> None:
    rng = np.random.default_rng(4)
    series = 1 + 8 * np.exp(-np.arange(120) / 6) + rng.normal(0, 0.05, 120)
    cut = mser5(series)
    assert cut is not None
    assert 15 <= cut <= 45
    assert series[cut:].mean() == pytest.approx(1, abs=0.05)


def test_mser_is_the_minimum_of_its_formula() -> None:
    rng = np.random.default_rng(6)
    series = np.concatenate((np.full(20, 5.0), np.ones(80))) + rng.normal(0, 0.1, 100)
    means = series.reshape(-1, 5).mean(axis=1)
    errors = [((means[d:] - means[d:].mean()) ** 2).sum() / (len(means) - d) ** 2 for d in range(len(means) // 2 + 1)]
    assert mser5(series) == int(np.argmin(errors)) * 5
    assert mser5(series) in (20, 25)


@pytest.mark.parametrize("n", [20, 30, 60, 120])
def test_mser_keeps_a_steady_noisy_series(n: int) -> None:
    rng = np.random.default_rng(8)
    cuts = [mser5(rng.normal(1, 0.1, n)) for _ in range(300)]
    assert sum(cut != 0 for cut in cuts) / 300 < 0.06


def test_mser_leaves_a_steady_series_alone() -> None:
    assert mser5(np.full(60, 64.0)) == 0


def test_mser_refuses_a_series_that_never_settles() -> None:
    assert mser5(np.arange(100.0) ** 2) is None
    assert mser5(1 + np.arange(20.0) / 20) is None
    assert mser5(np.arange(60.0, 0, -1)) is None


def test_mser_needs_twenty_points() -> None:
    assert mser5(np.array([100.0] * 5 + [1.0] * 14)) == 0


def test_in_flight_counts_overlap() -> None:
    starts, ends = np.array([0.0, 0.5, 2.0]), np.array([1.0, 2.5, 2.5])
    assert in_flight(starts, ends, np.arange(4.0)).tolist() == pytest.approx([1.5, 1.0, 1.0])


def test_means_by_second_repeat_over_empty_seconds() -> None:
    told = means_by_second(np.array([10.2, 10.4, 13.1, 9.0]), np.array([1.0, 3.0, 7.0, 50.0]), 10.0, 5)
    assert told.tolist() == [2.0, 2.0, 2.0, 7.0, 7.0]
    assert means_by_second(np.array([1.0]), np.array([np.nan]), 0.0, 3).size == 0


def test_littles_law_holds_for_a_steady_stream() -> None:
    starts = np.arange(0, 100, 0.1)
    off = littles_law(starts, starts + 0.5, 10, 90)
    assert off == pytest.approx(0, abs=0.01)


def test_littles_law_sees_a_growing_queue() -> None:
    starts = np.arange(0, 400, 0.1)
    ends = starts + 0.2 + 0.08 * np.maximum(starts - 100, 0)
    off = littles_law(starts, ends, 0, 400)
    assert off is not None
    assert off > 0.05


def test_littles_law_says_nothing_about_short_windows() -> None:
    starts = np.arange(0, 10, 0.1)
    assert littles_law(starts, starts + 2, 0, 10) is None
    assert littles_law(starts, starts + 2, 50, 60) is None
