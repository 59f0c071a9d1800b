"""The chart of a study: points in a plane, each with a verdict, and rules across it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Tone = Literal["good", "warn", "bad", "plain", "mark"]


@dataclass(frozen=True)
class Axis:
    """`unit` is one of the catalogue or a currency's code. A logarithmic axis needs values above 0; a `whole` one has
    ticks at whole numbers."""

    label: str
    unit: str = ""
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Point:
    """`name` is written beside the point, `told` in the legend while the pointer is at it."""

    x: float
    y: float
    tone: Tone
    name: str = ""
    told: str = ""
    low: float | None = None
    high: float | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Rule:
    """A line across the chart, at an x or a y."""

    label: str
    tone: Tone
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Scatter:
    """`joined`: the points with the tone `good` are joined by a line."""

    x: Axis
    y: Axis
    points: list[Point]
    rules: list[Rule] = field(default_factory=list)
    joined: bool = False

    def series(self) -> dict[str, Any]:
        """For the page's JSON."""
        return asdict(self)
