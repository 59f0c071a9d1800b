"""The search against loads whose limit is known: exact, noisy, and never."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.study.search import Bracket, Hold, search


def holds_to(limit: float, seen: list[float] | None = None) -> Callable[[float], Hold]:
    def probe(load: float) -> Hold:
        if seen is not None:
            seen.append(load)
        return "holds" if load <= limit else "fails"

    return probe


def find(limit: float, *, start: float = 1, whole: bool = True, most: float = 4096, least: float = 1) -> Bracket:
    probe = holds_to(limit)
    return search(probe, probe, start=start, least=least, most=most, whole=whole)


@given(st.integers(1, 4095), st.integers(1, 4096))
def test_a_whole_limit_is_found_within_ten_percent(limit: int, start: int) -> None:
    found = find(limit, start=start)
    assert found.confirmed
    assert found.holds is not None and found.breaks is not None
    assert found.holds <= limit < found.breaks
    assert found.breaks <= max(found.holds * 1.1, found.holds + 1)


@given(st.floats(0.01, 900), st.floats(0.5, 2))
def test_a_rate_is_found_within_ten_percent(limit: float, start: float) -> None:
    found = find(limit, start=start, whole=False, least=start / 1024, most=start * 1024)
    if limit < start / 1024:
        assert found.holds is None
    else:
        assert found.holds is not None and found.holds <= limit
        assert found.breaks is None or found.holds / found.breaks > 1 / 1.1001


def test_few_probes_are_needed() -> None:
    seen: list[float] = []
    probe = holds_to(24, seen)
    search(probe, probe, start=1, least=1, most=4096, whole=True)
    assert seen == [1, 2, 4, 8, 16, 32, 23, 27, 25, 23]  # the last one confirms


def test_nothing_holds() -> None:
    assert find(0, start=16) == Bracket(breaks=1, how="fails")


def test_all_hold() -> None:
    assert find(math.inf, most=64) == Bracket(holds=64, confirmed=True)


def test_a_winner_that_is_not_confirmed_gives_way_to_a_smaller_one() -> None:
    found = search(holds_to(24), holds_to(20), start=8, least=1, most=64, whole=True)
    assert found.confirmed
    assert found.holds is not None and 18 <= found.holds <= 20
    assert found.breaks is not None and found.breaks <= 22


def test_what_stays_undecided_does_not_hold() -> None:
    def probe(load: float) -> Hold:
        return "holds" if load <= 10 else "undecided" if load <= 14 else "fails"

    found = search(probe, probe, start=1, least=1, most=64, whole=True)
    assert (found.holds, found.breaks, found.how) == (10, 11, "undecided")


@pytest.mark.parametrize("seed", range(5))
def test_noise_near_the_limit_costs_at_most_ten_percent(seed: int) -> None:
    """Probes that are unsure within 5 % of the limit and right elsewhere."""
    rng = np.random.default_rng(seed)

    def probe(load: float) -> Hold:
        if abs(load / 100 - 1) < 0.05:
            return str(rng.choice(["holds", "fails", "undecided"]))  # type: ignore[return-value]
        return "holds" if load < 100 else "fails"

    found = search(probe, probe, start=10, least=1, most=4096, whole=True)
    assert found.holds is not None and 86 <= found.holds <= 105
