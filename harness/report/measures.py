"""The figures of a run that trackers and dashboards are given: one name, one unit, one value each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.judge.term import term
from harness.metrics.summary import Summary

_TERMS = (
    *(
        f"{metric}.{stat}"
        for metric in ("ttft", "tpot", "itl", "e2e", "session.makespan")
        for stat in ("p50", "p95", "p99")
    ),
    *("rates.output_tokens_per_s", "rates.total_tokens_per_s", "rates.requests_per_s", "rates.sessions_per_hour"),
    *("rates.goodput_requests_per_s", "rates.goodput_sessions_per_hour", "error_rate"),
    *("cost.per_1m_tokens", "cost.per_session", "energy.j_per_output_token"),
)
NAMES = tuple(name.removeprefix("rates.") for name in _TERMS)


@dataclass(frozen=True)
class Measure:
    """`low` and `high` are the 95 % interval, None where there is none. Times in seconds, shares as fractions."""

    name: str
    unit: str
    value: float
    low: float | None
    high: float | None
    higher_is_better: bool


def measures(summary: Summary) -> Iterator[Measure]:
    """What the run knows; an unknown figure is left out."""
    currency = summary.cost.currency if summary.cost is not None else ""
    for wanted in map(term, _TERMS):
        found = wanted.of_summary(summary)
        if found.value is not None:
            yield Measure(
                name=wanted.name.removeprefix("rates."),
                unit=currency if wanted.unit == "money" else wanted.unit,
                value=found.value,
                low=found.low,
                high=found.high,
                higher_is_better=wanted.better == "higher",
            )
