"""Own hardware against hosted models; the arithmetic stands beside each case."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judge.breakeven import SelfHosting, self_hosting
from harness.metrics.summary import BreakEven, CostFigures, Rates, Summary, TargetInfo


def own(currency: str = "USD", against: list[BreakEven] | None = None) -> Summary:
    """2.00 an hour; 1,000 sessions an hour, 800 of them good."""
    cost = CostFigures(
        basis="owned", currency=currency, per_hour=2.0, per_session=0.002, per_1m_tokens=1.0, break_even=against or []
    )
    return Summary(rates=Rates(sessions_per_hour=1000, goodput_sessions_per_hour=800), cost=cost)


def api(currency: str = "USD", good: float | None = 0.0125) -> Summary:
    cost = CostFigures(basis="price", currency=currency, per_session=0.01, per_good_session=good, as_of="2026-11")
    return Summary(target=TargetInfo(model="a/b"), cost=cost)


def told(*summaries: Summary, same_load: bool = True) -> list[SelfHosting]:
    return self_hosting(list(zip("ABC", summaries, strict=False)), same_load=same_load)


def test_a_run_against_a_run_of_a_hosted_model() -> None:
    """Its 1,000 sessions would bill 10.00: break even at 2 / 10, 200 of them. So would 800 good ones at 0.0125."""
    (found,) = told(own(), api())
    assert (found.run, found.other, found.against, found.as_of) == ("A", "B", "a/b", "2026-11")
    assert (found.utilisation, found.sessions_per_hour) == pytest.approx((0.2, 200))
    assert found.utilisation_at_slo == pytest.approx(0.2)
    assert (found.per_session, found.api_per_session) == (0.002, 0.01)
    assert told(own(), api(good=None))[0].utilisation_at_slo is None


def test_the_models_of_the_config_come_first() -> None:
    listed = BreakEven(model="c/d", per_session=0.004, utilisation=0.5, utilisation_at_slo=0.625, sessions_per_hour=500)
    unknown = BreakEven(model="e/f")
    first, second = told(own(against=[listed, unknown]), api())
    assert (first.against, first.other, first.utilisation, first.sessions_per_hour) == ("c/d", None, 0.5, 500)
    assert second.against == "a/b"


@pytest.mark.parametrize(
    ("summaries", "same_load"),
    [
        ((own(), api("EUR")), True),  # there are no exchange rates here
        ((own(), api()), False),  # a session here is another there
        ((own(), own()), True),
        ((api(), api()), True),
        ((own(), Summary()), True),
    ],
)
def test_nothing_to_hold_against(summaries: Any, same_load: bool) -> None:
    assert told(*summaries, same_load=same_load) == []
