"""Distributions: what they take, what they draw, and that the mean they tell is the mean they have."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.config.distribution import CountDist, Distribution, DurationDist, OptionalTokenDist, TokenDist

SHAPES: list[dict[str, Any]] = [
    {"dist": "constant", "value": 7},
    {"dist": "uniform", "min": 2, "max": 9},
    {"dist": "uniform", "min": 3, "max": 3},
    {"dist": "normal", "mean": 10, "stddev": 4},
    {"dist": "normal", "mean": 3, "stddev": 4, "min": 1, "max": 6},
    {"dist": "lognormal", "median": 60, "sigma": 1.0},
    {"dist": "lognormal", "median": 200, "sigma": 0.9, "max": 300},
    {"dist": "lognormal", "median": 5, "sigma": 0.0},
    {"dist": "lognormal", "median": 2, "sigma": 1.5, "min": 2, "max": 40},
    {"dist": "geometric", "mean": 3.5, "max": 20},
    {"dist": "geometric", "mean": 3.5, "min": 2, "max": 4},
    {"dist": "geometric", "mean": 1},
    {"dist": "exponential", "mean": 12},
    {"dist": "exponential", "mean": 12, "min": 3, "max": 15},
    {"dist": "choice", "values": [1, 2, 30]},
    {"dist": "choice", "values": [1, 2, 30], "weights": [5, 0, 1]},
]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("kind", [Distribution, CountDist, TokenDist, OptionalTokenDist, DurationDist])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_mean_is_the_mean_of_draws(kind: type[Distribution], shape: dict[str, Any]) -> None:
    distribution = kind.model_validate(shape)
    n = 40_000
    grid = np.array([distribution.quantile((place + 0.5) / n) for place in range(n)])
    # the largest draws of a long tail lie above the last point of the grid
    assert distribution.mean() == pytest.approx(grid.mean(), rel=0.003, abs=1e-9)
    drawn = np.array([distribution.sample(generator) for generator in [rng()] for _ in range(4000)])
    assert drawn.mean() == pytest.approx(distribution.mean(), abs=5 * max(grid.std(), 1e-9) / math.sqrt(4000))


def test_quantiles_are_those_of_the_textbook() -> None:
    assert Distribution.model_validate({"dist": "lognormal", "median": 60, "sigma": 1}).quantile(0.5) == pytest.approx(
        60
    )
    upper = Distribution.model_validate({"dist": "lognormal", "median": 60, "sigma": 1}).quantile(0.841344746)
    assert upper == pytest.approx(60 * math.e)
    assert Distribution.model_validate({"dist": "normal", "mean": 5, "stddev": 2}).quantile(0.975) == pytest.approx(
        8.92, abs=0.001
    )
    assert Distribution.model_validate({"dist": "exponential", "mean": 2}).quantile(0.5) == pytest.approx(
        2 * math.log(2)
    )
    geometric = Distribution.model_validate({"dist": "geometric", "mean": 4})
    assert [geometric.quantile(u) for u in (0.0, 0.24, 0.26, 0.5)] == [1, 1, 2, 3]  # P(N <= 2) = 1 - 0.75^2 = 0.4375
    choice = Distribution.model_validate({"dist": "choice", "values": [5, 1], "weights": [1, 3]})
    assert [choice.quantile(u) for u in (0.0, 0.24, 0.26, 0.99)] == [5, 5, 1, 1]


def test_a_draw_takes_one_uniform_number_whatever_the_distribution() -> None:
    for shape in SHAPES:
        generator, other = rng(), rng()
        Distribution.model_validate(shape).sample(generator)
        other.random()
        assert generator.random() == other.random()


@given(st.sampled_from(SHAPES), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_quantiles_rise_and_stay_inside_the_bounds(shape: dict[str, Any], low: float, high: float) -> None:
    low, high = sorted((low, high))
    for kind in (Distribution, TokenDist, DurationDist):
        distribution = kind.model_validate(shape)
        first, second = distribution.quantile(low), distribution.quantile(high)
        assert math.isfinite(first) and first <= second
        assert shape.get("min", -math.inf) <= first and second <= shape.get("max", math.inf)
    assert TokenDist.model_validate(shape).quantile(low) >= 1
    assert TokenDist.model_validate(shape).quantile(low).is_integer()


def test_what_a_scalar_means() -> None:
    assert TokenDist.model_validate(128).sample(rng()) == 128
    assert TokenDist.model_validate("4k").mean() == 4000
    assert OptionalTokenDist.model_validate(0).sample(rng()) == 0
    assert DurationDist.model_validate("300ms").sample(rng()) == 0.3
    assert DurationDist.model_validate(2).mean() == 2
    think = DurationDist.model_validate({"dist": "lognormal", "median": "2s", "sigma": 0.5, "max": "20s"})
    assert think.quantile(0.5) == pytest.approx(2)
    assert DurationDist.model_validate({"dist": "choice", "values": ["2s", "500ms"]}).mean() == 1.25


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (TokenDist, {"dist": "lognormal", "median": 3}, "lognormal needs sigma"),
        (TokenDist, {"dist": "normal"}, "normal needs mean and stddev"),
        (TokenDist, {"median": 3}, "needs the key dist"),
        (
            TokenDist,
            {"dist": "geometric", "mean": 2, "sigma": 1},
            r"geometric has no sigma \(it takes mean, min, max\)",
        ),
        (TokenDist, {"dist": "geometric", "mean": 0.5}, "must be at least 1"),
        (Distribution, {"dist": "geometric", "mean": 0.5}, "mean of geometric must be at least 1"),
        (TokenDist, {"dist": "lognormal", "median": 3, "sigma": -1}, "sigma must not be negative"),
        (Distribution, {"dist": "lognormal", "median": 0, "sigma": 1}, "median must be positive"),
        (Distribution, {"dist": "exponential", "mean": -1}, "mean of exponential must be positive"),
        (TokenDist, {"dist": "uniform", "min": 9, "max": 2}, "min 9 is above max 2"),
        (TokenDist, {"dist": "choice", "values": []}, "values must not be empty"),
        (TokenDist, {"dist": "choice", "values": 3}, "valid list"),
        (TokenDist, {"dist": "choice", "values": [1], "weights": [1, 2]}, "2 weights for 1 values"),
        (TokenDist, {"dist": "choice", "values": [1, 2], "weights": [0, 0]}, "one must be positive"),
        (TokenDist, {"dist": "zipf"}, "Input should be"),
        (TokenDist, 0, "value must be at least 1, not 0"),
        (TokenDist, 1.5, "1.5 is not a whole number"),
        (TokenDist, "many", "'many' is not a number"),
        (TokenDist, [1], "neither a number of tokens of at least 1 nor a distribution"),
        (TokenDist, True, "True is neither"),
        (OptionalTokenDist, -1, "at least 0"),
        (DurationDist, "5%", "'5%' is not a duration"),
        (DurationDist, -2, "not a duration"),
    ],
)
def test_what_is_refused(kind: type[Distribution], value: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        kind.model_validate(value)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_it_is_written_as_it_can_be_read(shape: dict[str, Any]) -> None:
    distribution = Distribution.model_validate(shape)
    assert Distribution.model_validate(distribution.model_dump(mode="json")) == distribution
    assert pickle.loads(pickle.dumps(distribution)) == distribution


def test_plain_numbers_are_written_plainly() -> None:
    assert TypeAdapter(TokenDist).dump_python(TokenDist.model_validate(128)) == 128
    assert DurationDist.model_validate("1.5s").model_dump(mode="json") == 1.5
