"""Which points no other point beats."""

from __future__ import annotations

from collections.abc import Sequence


def frontier(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """True for each point that is not dominated: no other is at least as good in both figures and better in one.

    Larger is better in both. A point with an unknown figure is on no frontier and dominates nothing. Of equal points
    all are on it.
    """
    order = sorted(
        (index for index, point in enumerate(points) if None not in point),
        key=lambda index: (-(points[index][0] or 0.0), -(points[index][1] or 0.0)),
    )
    on = [False] * len(points)
    best: tuple[float | None, float | None] | None = None
    for index in order:
        point = points[index]
        if best is None or (point[1] or 0.0) > (best[1] or 0.0) or point == best:
            on[index] = True
            best = point
    return on
