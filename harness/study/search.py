"""The largest load that holds: double until it does not, bisect, confirm. Knows nothing of servers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import msgspec

Hold = Literal["holds", "fails", "undecided"]

RESOLUTION = 0.10


class Bracket(msgspec.Struct, frozen=True, kw_only=True):
    """`holds` was confirmed where `confirmed` is true; `breaks` is the smallest load above it that did not hold, and
    `how` whether it failed or stayed undecided. None: there was none."""

    holds: float | None = None
    breaks: float | None = None
    how: Hold | None = None
    confirmed: bool = False


def search(
    probe: Callable[[float], Hold],
    confirm: Callable[[float], Hold],
    *,
    start: float,
    least: float,
    most: float,
    whole: bool,
    resolution: float = RESOLUTION,
) -> Bracket:
    """Probe loads until the largest that holds is known to within `resolution`, and confirm it.

    Doubles from `start` (or halves, where that does not hold) between `least` and `most`, then bisects by the geometric
    mean. A load that stays undecided counts as one that does not hold. The winner is confirmed by another probe; where
    that says otherwise, the search goes on below it. `whole` loads are integers.
    """
    known: dict[float, Hold] = {}

    def look(load: float) -> bool:
        known[load] = probe(load)
        return known[load] == "holds"

    load = start
    if look(load):
        while load < most and look(load := min(2 * load, most)):
            pass
    else:
        while load > least and not look(load := max(load // 2 if whole else load / 2, least)):
            pass
    while True:
        low, high = _edges(known)
        if low is None:
            return Bracket(breaks=high, how=None if high is None else known[high])
        middle = None if high is None else between(low, high, whole=whole, resolution=resolution)
        if middle is not None:
            look(middle)
            continue
        verdict = confirm(low)
        if verdict == "holds":
            return Bracket(holds=low, breaks=high, how=None if high is None else known[high], confirmed=True)
        known[low] = verdict


def between(low: float, high: float, *, whole: bool, resolution: float) -> float | None:
    """The next load to look at; None where the bracket is narrow enough."""
    if high / low <= 1 + resolution or (whole and high - low <= 1):
        return None
    middle = math.sqrt(low * high)
    return float(min(max(round(middle), low + 1), high - 1)) if whole else middle


def _edges(known: dict[float, Hold]) -> tuple[float | None, float | None]:
    """The largest load that holds below the smallest that does not, and the latter."""
    broken = [load for load, hold in known.items() if hold != "holds"]
    high = min(broken, default=None)
    low = max((load for load, hold in known.items() if hold == "holds" and (high is None or load < high)), default=None)
    return low, high
