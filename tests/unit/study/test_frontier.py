"""Frontiers against the definition, point by point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.study.frontier import frontier
from harness.study.sweep import grid

FIGURE = st.one_of(st.none(), st.integers(0, 6).map(float), st.floats(-100, 100))


@given(st.lists(st.tuples(FIGURE, FIGURE), max_size=12))
def test_by_definition(points: list[tuple[float | None, float | None]]) -> None:
    def dominated(one: tuple[float, float]) -> bool:
        return any(
            a is not None and b is not None and a >= one[0] and b >= one[1] and (a > one[0] or b > one[1])
            for a, b in points
        )

    for (a, b), on in zip(points, frontier(points), strict=True):
        assert on == (a is not None and b is not None and not dominated((a, b)))


def test_the_last_path_varies_fastest() -> None:
    assert list(grid({"a": [1, 2], "b": ["x", "y"]})) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
