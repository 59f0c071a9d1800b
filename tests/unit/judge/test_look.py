"""SLOs at one of three looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.judge.look import LOOKS, WIDER, at_look, look
from harness.metrics.summary import SloResult, SloVerdict


def result(value: float, half: float, expr: str = "ttft.p95 < 1s", verdict: SloVerdict = "pass") -> SloResult:
    return SloResult(expr=expr, verdict=verdict, value=value, limit=1.0, ci95=(value - half, value + half))


def test_the_factor_is_that_of_bonferroni() -> None:
    assert pytest.approx(stats.norm.ppf(1 - 0.05 / LOOKS / 2) / stats.norm.ppf(0.975)) == WIDER


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [(0.8, 0.1, "pass"), (0.8, 0.18, "inconclusive"), (1.2, 0.1, "fail"), (1.2, 0.18, "inconclusive")],
)
def test_wider_intervals(value: float, half: float, verdict: str) -> None:
    assert at_look(result(value, half)) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.2, "pass"), (0.8, "fail"), (1.05, "inconclusive")])
def test_lower_limits(value: float, verdict: str) -> None:
    assert at_look(result(value, 0.1, "rates.requests_per_s > 1")) == verdict


def test_all_must_pass_and_one_failure_is_enough() -> None:
    good, bad, unsure = result(0.5, 0.1), result(2.0, 0.1), result(1.0, 0.1)
    assert look([good, good]) == "holds"
    assert look([good, unsure]) == "undecided"
    assert look([good, bad, unsure]) == "fails"
    assert look([]) == "undecided"


def test_a_verdict_without_interval_stands() -> None:
    bare = SloResult(expr="ttft.p99 < 1s", verdict="pass", value=0.5, limit=1.0)
    assert look([bare]) == "holds"


def test_three_looks_together_err_in_five_percent_at_most() -> None:
    """A figure that is at its limit: whatever is said of it is wrong. Each look doubles the sample."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        for n in (50, 100, 200):
            sample = rng.normal(1.0, 0.3, n)
            half = 1.96 * float(sample.std(ddof=1)) / n**0.5
            verdict = look([result(float(sample.mean()), half)])
            if verdict != "undecided":
                wrong += 1
                break
    assert wrong <= 0.065 * 2000
