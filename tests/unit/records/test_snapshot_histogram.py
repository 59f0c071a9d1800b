"""The live histogram: bins of 5.9 %, and snapshots that add up."""

from __future__ import annotations

import pytest

from harness.records.snapshot import BINS_PER_DECADE, LogHistogram


def test_a_quantile_is_within_its_bin() -> None:
    told = LogHistogram()
    for number in range(1, 1001):
        told.add(number / 1000)
    assert told.total() == 1000
    width = 10 ** (1 / BINS_PER_DECADE)
    for q in (0.1, 0.5, 0.95):
        assert q / width <= (told.quantile(q) or 0) <= q * width


def test_histograms_of_workers_add_up() -> None:
    left, right, both = LogHistogram(), LogHistogram(), LogHistogram()
    for seconds in (0.01, 0.02):
        left.add(seconds)
        both.add(seconds)
    for seconds in (0.5, 5000.0, 0.0):  # beyond either end: the last bin, the first bin
        right.add(seconds)
        both.add(seconds)
    left.merge(right)
    assert left == both


def test_an_empty_histogram_knows_nothing() -> None:
    assert LogHistogram().quantile(0.5) is None
    assert pytest.approx(1e-6, rel=0.1) == _one(0.0)


def _one(seconds: float) -> float | None:
    told = LogHistogram()
    told.add(seconds)
    return told.quantile(0.5)
