"""Distributions in configs: a number, or `{dist: lognormal, median: 120, sigma: 1.0, max: 2000}`.

Every draw takes exactly one uniform number and goes through the inverse of the distribution function. So a
change of one distribution leaves all other draws of a session as they were, and two configs that are compared
share their luck.

`min` and `max` clip: what would lie outside is moved to the bound, not drawn again. `mean()` knows that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_serializer, model_validator

from harness.config.law import Kind, below, limited, quantile, that
from harness.config.section import Section
from harness.units import parse_count, parse_duration

if TYPE_CHECKING:
    from numpy.random import Generator
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_EXACT_COUNTS = 4096  # up to here the mean of whole numbers is summed, above it integrated

# The keys each distribution needs, and those it may have.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": (("value",), ()),
    "uniform": (("min", "max"), ()),
    "normal": (("mean", "stddev"), ("min", "max")),
    "lognormal": (("median", "sigma"), ("min", "max")),
    "geometric": (("mean",), ("min", "max")),
    "exponential": (("mean",), ("min", "max")),
    "choice": (("values",), ("weights",)),
}


class Distribution(Section):
    """A number or a distribution of numbers. Immutable; a plain number is a constant.

    Attributes:
        value: of `constant`.
        median, sigma: of `lognormal`; sigma is the standard deviation of the logarithm.
        mean, stddev: of `normal` (both), `exponential` and `geometric` (mean alone; geometric counts the
            trials up to
            the first success: 1, 2, 3, ..., so its mean is at least 1).
        min, max: the ends of `uniform`; bounds that clip for all others.
        values, weights: of `choice`; equal weights where none are given.
    """

    dist: Kind
    value: float | None = None
    median: float | None = None
    sigma: float | None = None
    mean_: float | None = Field(default=None, alias="mean")
    stddev: float | None = None
    min: float | None = None
    max: float | None = None
    values: list[float] | None = None
    weights: list[float] | None = None

    _NOUN: ClassVar[str] = "a number"
    _LEAST: ClassVar[float] = -math.inf  # what lies below is clipped, whatever `min` says

    @classmethod
    def _number(cls, value: Any) -> float:
        return parse_count(value)

    @model_validator(mode="before")
    @classmethod
    def _number_is_constant(cls, data: Any) -> Any:
        if isinstance(data, dict):
            if "dist" not in data:
                raise ValueError("a distribution needs the key dist, as in {dist: lognormal, median: 3, sigma: 0.9}")
            return data
        if isinstance(data, bool) or not isinstance(data, int | float | str):
            raise ValueError(f"{data!r} is neither {cls._NOUN} nor a distribution")
        return {"dist": "constant", "value": cls._number(data)}

    @field_validator("value", "median", "mean_", "stddev", "min", "max", mode="before")
    @classmethod
    def _quantity(cls, value: Any) -> Any:
        return None if value is None else cls._number(value)

    @field_validator("values", mode="before")
    @classmethod
    def _quantities(cls, value: Any) -> Any:
        return [cls._number(each) for each in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> Distribution:
        needs, may = _KEYS[self.dist]
        given = {key: value for key in _MEMBERS if (value := self._member(key)) is not None}
        if missing := [key for key in needs if key not in given]:
            raise ValueError(f"{self.dist} needs {' and '.join(missing)}")
        if extra := [key for key in given if key not in (*needs, *may)]:
            raise ValueError(f"{self.dist} has no {' or '.join(extra)} (it takes {', '.join((*needs, *may))})")
        for key in ("value", "min", "max", "median", "mean", "values"):
            numbers = given.get(key, ())
            for number in numbers if isinstance(numbers, list) else (numbers,) if numbers != () else ():
                if number < self._LEAST:
                    raise ValueError(f"{key} must be at least {self._LEAST:g}, not {number:g}")
        self._in_range()
        return self

    def _in_range(self) -> None:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.median is not None and self.median <= 0:
            raise ValueError(f"median must be positive, not {self.median:g}")
        for key, number in (("sigma", self.sigma), ("stddev", self.stddev)):
            if number is not None and number < 0:
                raise ValueError(f"{key} must not be negative, not {number:g}")
        if self.dist == "geometric" and that(self.mean_) < 1:
            raise ValueError(f"mean of geometric must be at least 1, not {self.mean_:g}")
        if self.dist == "exponential" and that(self.mean_) <= 0:
            raise ValueError(f"mean of exponential must be positive, not {self.mean_:g}")
        if self.values is not None and not self.values:
            raise ValueError("values must not be empty")
        if self.weights is not None:
            if len(self.weights) != len(self.values or ()):
                raise ValueError(f"{len(self.weights)} weights for {len(self.values or ())} values")
            if any(weight < 0 for weight in self.weights) or sum(self.weights) <= 0:
                raise ValueError("weights must not be negative, and one must be positive")

    def _member(self, key: str) -> Any:
        return getattr(self, "mean_" if key == "mean" else key)

    @property
    def _bounds(self) -> tuple[float, float]:
        if self.dist == "uniform":
            return self._LEAST, math.inf
        low = self._LEAST if self.min is None else max(self.min, self._LEAST)
        return low, math.inf if self.max is None else self.max

    def quantile(self, u: float) -> float:
        """The value below which a share `u` (0 <= u < 1) of all draws lies, after clipping."""
        low, high = self._bounds
        return min(max(quantile(self, u), low), high)

    def sample(self, rng: Generator) -> float:
        """One draw. Takes exactly one uniform number from `rng`."""
        return self.quantile(rng.random())

    def mean(self) -> float:
        """The expected value of `sample`, clipping included.

        E[clip(X, a, b)] = a + E[min(X, b)] - E[min(X, a)], with the limited expected value in closed form.
        """
        low, high = self._bounds
        if low == -math.inf:
            return limited(self, high)
        return low + limited(self, high) - limited(self, low)

    @model_serializer
    def _plain(self) -> Any:
        """As it is written in a config: a constant is a number, and only the keys that are set are told."""
        if self.dist == "constant":
            return _tidy(that(self.value))
        given = {key: value for key in _MEMBERS if (value := self._member(key)) is not None}
        return {"dist": self.dist, **{key: _tidy(value) for key, value in given.items()}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """One branch for a plain number and one for each distribution, each with its own keys."""
        number: dict[str, Any] = {"type": ["number", "string"], "description": cls._NOUN}
        kinds: dict[str, dict[str, Any]] = {
            key: {"type": "array", "minItems": 1, "items": number} if key == "values" else number for key in _MEMBERS
        }
        kinds["weights"] = {"type": "array", "items": {"type": "number", "minimum": 0}}
        kinds["sigma"] = {"type": "number", "minimum": 0}
        branches = [
            {
                "type": "object",
                "properties": {"dist": {"const": name}, **{key: kinds[key] for key in (*needs, *may)}},
                "required": ["dist", *needs],
                "additionalProperties": False,
            }
            for name, (needs, may) in _KEYS.items()
        ]
        return {"anyOf": [number, {"oneOf": branches}]}


_MEMBERS = ("value", "median", "sigma", "mean", "stddev", "min", "max", "values", "weights")


class CountDist(Distribution):
    """Whole numbers of at least 1: draws are rounded, and what is below 1 becomes 1."""

    _NOUN: ClassVar[str] = "a whole number of at least 1"
    _LEAST: ClassVar[float] = 1

    @model_validator(mode="after")
    def _whole(self) -> CountDist:
        for number in (*([] if self.value is None else [self.value]), *(self.values or [])):
            if number != int(number):
                raise ValueError(f"{number:g} is not a whole number")
        return self

    def quantile(self, u: float) -> float:
        """The value below which a share `u` of all draws lies, rounded to a whole number."""
        return float(round(super().quantile(u)))

    def mean(self) -> float:
        """The expected value of `sample`, clipping and rounding included.

        Summed over P(N >= k) for the first few thousand whole numbers; above them rounding does not matter.
        """
        low, high = self._bounds
        if self.dist == "geometric":
            return super().mean()
        first = math.floor(low + 0.5)
        last = min(high + 0.5, first + _EXACT_COUNTS)
        count = max(0, math.floor(last) - first)
        head = first + sum(1.0 - below(self, first + k - 0.5) for k in range(1, count + 1))
        edge = first + count
        return head + max(0.0, limited(self, high) - limited(self, edge)) if edge < high else head


class TokenDist(CountDist):
    """A length in tokens, at least 1. `4k` is 4000."""

    _NOUN: ClassVar[str] = "a number of tokens of at least 1"


class OptionalTokenDist(TokenDist):
    """A length in tokens that may be 0: there may be no such text at all."""

    _NOUN: ClassVar[str] = "a number of tokens"
    _LEAST: ClassVar[float] = 0


class DurationDist(Distribution):
    """A duration in seconds. Members accept `2s`, `300ms`; a plain `2s` is a constant."""

    _NOUN: ClassVar[str] = "a duration"
    _LEAST: ClassVar[float] = 0

    @classmethod
    def _number(cls, value: Any) -> float:
        return parse_duration(value)


def _tidy(value: Any) -> Any:
    """Whole numbers without `.0`, as people write them."""
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    return int(value) if value == int(value) and abs(value) < 2**53 else value
