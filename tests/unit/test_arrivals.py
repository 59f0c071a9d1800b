"""Arrivals are the processes they claim to be: rate, gaps, correlation, dispersion, and edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import arrivals

S = 1_000_000_000
N = 20_000


def gaps(offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.diff(offsets) / S


def cv(values: NDArray[np.float64]) -> float:
    return float(values.std() / values.mean())


def lag1(values: NDArray[np.float64]) -> float:
    return float(np.corrcoef(values[:-1], values[1:])[0, 1])


def counts(offsets: NDArray[np.int64], window_s: float) -> NDArray[np.int64]:
    edges = np.arange(0, offsets[-1] / S, window_s) * S
    return np.histogram(offsets, edges)[0]


def test_constant_gaps_are_equal() -> None:
    offsets = arrivals.constant(8.0, count=1000)
    assert set(np.diff(offsets)) == {S // 8}
    assert offsets[0] == 0


def test_constant_gaps_that_are_no_whole_nanoseconds_do_not_drift() -> None:
    offsets = arrivals.constant(3.0, count=300_001)
    assert offsets[-1] == 100_000 * S
    assert set(np.diff(offsets)) == {333_333_333, 333_333_334}


def test_constant_fills_the_duration_exactly() -> None:
    offsets = arrivals.constant(10.0, until_ns=5 * S)
    assert len(offsets) == 50
    assert offsets[-1] < 5 * S


def test_poisson_is_poisson() -> None:
    offsets = arrivals.poisson(50.0, 7, count=N)
    between = gaps(offsets)
    assert between.mean() == pytest.approx(1 / 50, rel=0.03)
    assert cv(between) == pytest.approx(1.0, abs=0.03)
    assert abs(lag1(between)) < 0.025
    window = counts(offsets, 1.0)
    assert window.var() / window.mean() == pytest.approx(1.0, abs=0.2)
    # the whole distribution, by Kolmogorov's distance (1.63 / sqrt(n) is its 99 % point)
    between.sort()
    theory = 1 - np.exp(-50 * between)
    assert np.abs(theory - np.arange(1, N) / N).max() < 1.63 / np.sqrt(N)


@pytest.mark.parametrize("wanted", [0.5, 1.0, 3.0])
def test_gamma_has_its_cv(wanted: float) -> None:
    offsets = arrivals.gamma(20.0, wanted, 7, count=100_000)
    between = gaps(offsets)
    assert cv(between) == pytest.approx(wanted, rel=0.05)
    assert between.mean() == pytest.approx(1 / 20, rel=0.05)
    assert abs(lag1(between)) < 0.02


def test_bursty_gamma_does_not_begin_with_a_burst() -> None:
    # An ordinary renewal process with cv 5 has (25 - 1) / 2 = 12 arrivals too many in any window from 0.
    found = [len(arrivals.gamma(10.0, 5.0, seed, until_ns=10 * S)) for seed in range(2000)]
    assert np.mean(found) == pytest.approx(100, abs=4)


def test_gamma_with_cv_1_is_poisson_in_distribution() -> None:
    first = [arrivals.gamma(1.0, 1.0, seed, count=1)[0] / S for seed in range(2000)]
    assert np.mean(first) == pytest.approx(1.0, abs=0.08)
    assert np.std(first) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("kind", ["constant", "poisson", "gamma"])
def test_ramp_rises_linearly_and_keeps_the_process(kind: str) -> None:
    rate, ramp = 1000.0, 10
    makers = {
        "constant": lambda: arrivals.constant(rate, ramp_ns=ramp * S, until_ns=20 * S),
        "poisson": lambda: arrivals.poisson(rate, 3, ramp_ns=ramp * S, until_ns=20 * S),
        "gamma": lambda: arrivals.gamma(rate, 2.0, 3, ramp_ns=ramp * S, until_ns=20 * S),
    }
    offsets = makers[kind]()
    per_s = np.histogram(offsets, np.arange(21) * S)[0]
    wanted = np.array([rate * (second + 0.5) / ramp for second in range(ramp)] + [rate] * 10)
    tolerance = {"constant": 1, "poisson": 5 * np.sqrt(wanted), "gamma": 10 * np.sqrt(wanted)}[kind]
    assert (np.abs(per_s - wanted) <= tolerance).all()
    # brought back to the time of the process, the gaps are those of the steady one
    seconds = offsets / S
    unit = np.where(seconds < ramp, rate * seconds**2 / (2 * ramp), rate * (seconds - ramp / 2))
    assert cv(np.diff(unit)) == pytest.approx({"constant": 0.0, "poisson": 1.0, "gamma": 2.0}[kind], abs=0.1)


def test_same_seed_same_schedule_and_other_seed_another() -> None:
    assert (arrivals.poisson(5.0, 1, count=100) == arrivals.poisson(5.0, 1, count=100)).all()
    assert (arrivals.poisson(5.0, 1, count=100) != arrivals.poisson(5.0, 2, count=100)).any()
    assert (arrivals.gamma(5.0, 2.0, 1, count=100) == arrivals.gamma(5.0, 2.0, 1, count=100)).all()


def test_a_longer_schedule_begins_like_a_shorter_one() -> None:
    for make in (lambda **bound: arrivals.poisson(100.0, 1, **bound), lambda **b: arrivals.gamma(100.0, 3.0, 1, **b)):
        long = make(count=10_000)
        assert (make(count=4097) == long[:4097]).all()
        assert (make(until_ns=int(long[5000])) == long[:5000]).all()


def test_whichever_bound_is_first() -> None:
    assert len(arrivals.constant(10.0, count=5, until_ns=10 * S)) == 5
    assert len(arrivals.constant(10.0, count=500, until_ns=10 * S)) == 100


def test_unbounded_and_absurd_schedules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs a count or an end"):
        arrivals.poisson(1.0, 1)
    monkeypatch.setattr(arrivals, "MOST", 10_000)
    with pytest.raises(ValueError, match="more than 10,000"):
        arrivals.poisson(1e6, 1, until_ns=3600 * S)


def test_trace_is_scaled_and_cut() -> None:
    assert list(arrivals.trace([0, 1.5, 4])) == [0, 1_500_000_000, 4 * S]
    assert list(arrivals.trace([0, 1.5, 4], scale=0.5, until_ns=2 * S)) == [0, 750_000_000]
    assert list(arrivals.trace([0, 1.5, 4], count=1)) == [0]
    assert list(arrivals.trace([])) == []


@pytest.mark.parametrize("offsets", [[1.0, 0.5], [-1.0], [float("nan")], [float("inf")]])
def test_trace_out_of_order_is_refused(offsets: list[float]) -> None:
    with pytest.raises(ValueError, match="in order"):
        arrivals.trace(offsets)


def test_closed_starts_are_one_in_each_stratum() -> None:
    starts = arrivals.closed_starts(100, 10 * S, 5)
    assert (starts // (S // 10) == np.arange(100)).all()
    assert len(set(np.diff(starts))) > 90
    assert (starts == arrivals.closed_starts(100, 10 * S, 5)).all()
    assert not arrivals.closed_starts(4, 0, 5).any()


@given(
    rate=st.floats(1e-3, 1e5),
    cv=st.floats(0.1, 15),
    ramp=st.integers(0, 100),
    count=st.integers(0, 300),
    seconds=st.integers(0, 50) | st.none(),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_schedule_is_sorted_not_negative_and_bounded(
    rate: float, cv: float, ramp: int, count: int, seconds: int | None, seed: int
) -> None:
    until = None if seconds is None else seconds * S
    for offsets in (
        arrivals.constant(rate, ramp_ns=ramp * S, count=count, until_ns=until),
        arrivals.poisson(rate, seed, ramp_ns=ramp * S, count=count, until_ns=until),
        arrivals.gamma(rate, cv, seed, ramp_ns=ramp * S, count=count, until_ns=until),
    ):
        assert offsets.dtype == np.int64
        assert len(offsets) == count if until is None else len(offsets) <= count
        assert (np.diff(offsets) >= 0).all()
        assert (offsets >= 0).all()
        assert until is None or (offsets < until).all()
