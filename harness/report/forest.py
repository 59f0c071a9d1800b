"""Ratios with their intervals as bars on one logarithmic axis: the forest of a comparison, drawn in SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.judge.contrast import Ratio

WIDTH = 100.0
_LEAST, _MOST = math.log(1.05), math.log(4.0)  # how far from 1 the axis reaches at least and at most
_EDGE = 4.0


@dataclass(frozen=True)
class Bar:
    """One ratio in drawing units, 0 to `WIDTH`: the middle, both ends of the interval (None: there is none), and the
    single ratios under it. What lies beyond the axis is drawn at its end."""

    middle: float
    low: float | None = None
    high: float | None = None
    ticks: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """From the ratio exp(-reach) to exp(reach); 1 lies in the middle."""

    reach: float

    @classmethod
    def over(cls, ratios: Iterable[Ratio | None]) -> Axis:
        """As far as the ratios and their intervals ask for."""
        known = [value for one in ratios if one is not None for value in (one.value, one.low, one.high) if value]
        return cls(min(_MOST, max([_LEAST, *(abs(math.log(value)) * 1.05 for value in known)])))

    def place(self, ratio: float) -> float:
        """Where a ratio lies."""
        share = math.log(ratio) / self.reach if ratio > 0 else -1.0
        return round(WIDTH / 2 + max(-1.0, min(1.0, share)) * (WIDTH / 2 - _EDGE), 2)

    def bar(self, ratio: Ratio | None, singles: Sequence[float] = ()) -> Bar | None:
        """The bar of a ratio; None where there is no ratio."""
        if ratio is None:
            return None
        known = ratio.low is not None and ratio.high is not None
        return Bar(
            middle=self.place(ratio.value),
            low=self.place(ratio.low) if known and ratio.low is not None else None,
            high=self.place(ratio.high) if known and ratio.high is not None else None,
            ticks=[self.place(single) for single in singles if single > 0],
        )

    @property
    def ends(self) -> tuple[str, str]:
        """What the ends of the axis are, as changes."""
        low, high = (f"{(math.exp(end) - 1) * 100:+.0f} %".replace("-", "−") for end in (-self.reach, self.reach))
        return low, high
