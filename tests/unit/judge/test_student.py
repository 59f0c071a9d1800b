"""Student's t against scipy, and what a distribution must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from harness.judge.student import incomplete_beta, t_cdf, t_quantile


@pytest.mark.parametrize("df", [1, 2, 3, 7, 15, 30, 200, 1000])
@pytest.mark.parametrize("t", [-40.0, -3.0, -0.5, 0.0, 1e-6, 0.7, 1.895, 12.0])
def test_cdf(df: int, t: float) -> None:
    assert t_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("df", [1, 2, 3, 7, 15, 100])
@pytest.mark.parametrize("p", [1e-4, 0.025, 0.05, 0.5, 0.9, 0.95, 0.975, 0.9999])
def test_quantile(df: int, p: float) -> None:
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-8, abs=1e-10)


@given(st.floats(0.5, 60), st.floats(0.5, 60), st.floats(0, 1))
def test_incomplete_beta(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("p", [0.0, 1.0, -1.0])
def test_no_quantile_beyond_the_ends(p: float) -> None:
    with pytest.raises(ValueError):
        t_quantile(p, 3)
