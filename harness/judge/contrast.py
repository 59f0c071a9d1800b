"""The ratio of figures of independent runs, with an interval made from their own intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from harness.judge.slo import Estimate

METHOD = (
    "95 % intervals of ratios: MOVER on the logarithms (Zou & Donner 2008) of each run's own interval, which is from "
    "order statistics with n_eff for percentiles and from a block bootstrap over sessions for rates"
)


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """`value` with 95 % bounds; a bound is None where a run cannot tell it."""

    value: float
    low: float | None = None
    high: float | None = None


def ratio(over: Sequence[Estimate], under: Sequence[Estimate]) -> Ratio | None:
    """The product of `over` by the product of `under`, all of independent runs; None where a figure is not positive.

    Method of variance estimates recovery (Zou & Donner, Construction of confidence limits about effect measures,
    Statistics in Medicine 2008): the distance from the sum to its bound is the root of the summed squares of the
    distances of its terms to theirs. Here the terms are logarithms.
    """
    figures = [*over, *under]
    if any(figure.value is None or not 0 < figure.value < math.inf for figure in figures):
        return None
    middle = sum(_log(figure.value) for figure in over) - sum(_log(figure.value) for figure in under)
    down = _distance([_below(figure) for figure in over] + [_above(figure) for figure in under])
    up = _distance([_above(figure) for figure in over] + [_below(figure) for figure in under])
    return Ratio(
        value=math.exp(middle),
        low=None if down is None else math.exp(middle - down),
        high=None if up is None else math.exp(middle + up),
    )


def _log(value: float | None) -> float:
    return math.log(value) if value else math.nan


def _below(figure: Estimate) -> float | None:
    return _log(figure.value) - _log(figure.low) if figure.low is not None and figure.low > 0 else None


def _above(figure: Estimate) -> float | None:
    known = figure.high is not None and math.isfinite(figure.high) and figure.high > 0
    return _log(figure.high) - _log(figure.value) if known else None


def _distance(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if len(known) == len(parts) else None
