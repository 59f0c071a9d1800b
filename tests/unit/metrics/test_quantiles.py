"""Sample floors are re-derived from the beta distribution; percentiles are numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from harness.metrics.quantiles import METHOD, quantile, sample_floor


def derived(q: float, misses: int, confidence: float) -> int:
    """The smallest n with I_q(n - t, t + 1) <= 1 - c, by trying every n."""
    return next(n for n in range(misses + 1, 10**6) if special.betainc(n - misses, misses + 1, q) <= 1 - confidence)


@pytest.mark.parametrize(("q", "none", "one"), [(0.9, 29, 46), (0.95, 59, 93), (0.99, 299, 473), (0.999, 2995, 4742)])
def test_floors_at_95_percent(q: float, none: int, one: int) -> None:
    assert sample_floor(q) == none == derived(q, 0, 0.95)
    assert sample_floor(q, 1) == one == derived(q, 1, 0.95)


@pytest.mark.parametrize(("q", "none", "one"), [(0.9, 44, 64), (0.95, 90, 130), (0.99, 459, 662), (0.999, 4603, 6636)])
def test_floors_at_99_percent(q: float, none: int, one: int) -> None:
    assert sample_floor(q, 0, 0.99) == none == derived(q, 0, 0.99)
    assert sample_floor(q, 1, 0.99) == one == derived(q, 1, 0.99)


def test_floor_of_the_median_is_two_sided() -> None:
    assert sample_floor(0.5) == 6
    assert 2 * 0.5**6 <= 0.05 < 2 * 0.5**5


def test_low_percentiles_mirror_high_ones() -> None:
    assert sample_floor(0.05) == sample_floor(0.95)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_quantile_is_numpys(values: list[float], q: float) -> None:
    ordered = np.sort(np.array(values))
    assert quantile(ordered, q) == pytest.approx(np.quantile(ordered, q, method=METHOD), rel=1e-9, abs=1e-6)
