"""Two or more finished runs side by side: ratios to the first with intervals, effect sizes, and what else differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from harness.errors import UsageError
from harness.judge.breakeven import SelfHosting, self_hosting
from harness.judge.contrast import METHOD, Ratio, ratio
from harness.judge.likeness import Difference, differences, kind_of_load, unlike_loads
from harness.judge.slo import Estimate
from harness.judge.subject import Subject
from harness.judge.term import Better, Term, term
from harness.metrics.catalogue import METRICS
from harness.metrics.classic import ClassicRow, classic_row
from harness.metrics.precision import precision
from harness.metrics.terms import terms_of

SCHEMA = 1
TERMS = (
    *("ttft_intended.p50", "ttft_intended.p95", "ttft.p50", "ttft.p95", "ttft.p99", "tpot.p50", "tpot.p95"),
    *("e2e.p50", "e2e.p95", "session.makespan.p50", "session.makespan.p95", "output_tokens.mean"),
    *("rates.output_tokens_per_s", "rates.total_tokens_per_s", "rates.requests_per_s", "rates.sessions_per_hour"),
    *("rates.goodput_requests_per_s", "rates.goodput_sessions_per_hour", "error_rate"),
    *("cost.per_1m_tokens", "cost.per_1m_input_tokens", "cost.per_1m_output_tokens", "cost.at_slo"),
    *("cost.per_session", "cost.per_good_session"),
    *("energy.j_per_output_token", "energy.j_per_session", "energy.j_per_good_session"),
    *("wire.in_per_output_token", "wire.out_per_output_token"),
)
_SIZES = ("input_tokens", "output_tokens")  # neither way of these is the better

Change = Literal["better", "worse", "changed", "unclear", "unknown"]


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """A run against the first. `change` is told only where the interval of the ratio leaves out 1; `superiority` is
    the chance that a value of this run is larger than one of the first (0.5: no difference)."""

    ratio: Ratio | None
    change: Change
    superiority: float | None = None
    effect: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of every run, in the order of the runs; `versus` is one shorter."""

    term: str
    unit: str
    better: Better | None
    figures: list[Estimate]
    versus: list[Versus]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the comparison names it: A, B, C ..."""

    label: str
    id: str
    name: str
    source: str
    engine: str
    verdict: str
    seed: int
    simulated: bool = False
    foreign: str = ""


class Comparison(msgspec.Struct, kw_only=True):
    """`unlike` is not empty only where the comparison of unlike loads was forced. `classic` has a row a run; `rows` is
    empty where that is all there is to tell."""

    schema: int = SCHEMA
    runs: list[Side]
    classic: list[ClassicRow]
    rows: list[Row]
    self_hosting: list[SelfHosting]
    currencies: list[str]
    differences: list[list[Difference]]
    unlike: list[list[Difference]]
    method: str = METHOD


def compare(subjects: Sequence[Subject], *, force: bool = False) -> Comparison:
    """Hold every run against the first.

    Raises:
        UsageError: open against closed load, or different loads without `force`.
    """
    base, *others = subjects
    unlike = [_check(base, other, force=force) for other in others]
    rows = [_row(term(name), subjects) for name in TERMS]
    found = side_by_side(subjects)
    found.rows = [row for row in rows if any(figure.value is not None for figure in row.figures)]
    found.self_hosting = _self_hosting(found.runs, subjects, same_load=not any(unlike))
    found.unlike = unlike
    return found


def side_by_side(subjects: Sequence[Subject]) -> Comparison:
    """Speed, memory and money of any runs, whatever their loads, beside what differs: nothing is held against anything.

    The classic table is such a one: the same engine at several concurrencies, say.
    """
    runs = [_side(subject, index) for index, subject in enumerate(subjects)]
    return Comparison(
        runs=runs,
        classic=[_classic(subject) for subject in subjects],
        rows=[],
        self_hosting=_self_hosting(runs, subjects, same_load=False),
        currencies=_currencies(subjects),
        differences=[differences(subjects[0], other) for other in subjects[1:]],
        unlike=[[] for _ in subjects[1:]],
    )


def _self_hosting(runs: Sequence[Side], subjects: Sequence[Subject], *, same_load: bool) -> list[SelfHosting]:
    labelled = [(run.label, subject.summary) for run, subject in zip(runs, subjects, strict=True)]
    return self_hosting(labelled, same_load=same_load)


def _currencies(subjects: Sequence[Subject]) -> list[str]:
    told = (subject.summary.cost.currency for subject in subjects if subject.summary.cost is not None)
    return list(dict.fromkeys(told))


def _classic(subject: Subject) -> ClassicRow:
    facts = subject.facts
    held = precision(subject.summary.target.model, facts.config, facts.target)
    return classic_row(subject.summary, terms_of(facts.config) if facts.config else None, held)


def _check(base: Subject, other: Subject, *, force: bool) -> list[Difference]:
    kinds = kind_of_load(base), kind_of_load(other)
    if None not in kinds and kinds[0] != kinds[1]:
        raise UsageError(
            f"{base.source} is {kinds[0]} load and {other.source} is {kinds[1]} load: their latencies do not compare",
            remedy="run both with load.rate, or both with load.concurrency; --table tells speed and memory of any runs",
        )
    found = unlike_loads(base, other)
    if found and not force:
        words = "; ".join(difference.told() for difference in found[:4])
        raise UsageError(
            f"{base.source} and {other.source} had different loads: {words}",
            remedy="give both the same workload and load, or add --force to see them side by side all the same; "
            "--table tells speed and memory of any runs",
        )
    return found


def _side(subject: Subject, index: int) -> Side:
    summary = subject.summary
    engine = " ".join(part for part in (summary.target.engine, summary.target.engine_version or "") if part)
    foreign = subject.facts.foreign
    return Side(
        label=chr(ord("A") + index) if index < 26 else str(index + 1),
        id=summary.run.id,
        name=summary.run.name,
        source=subject.source,
        engine=engine or summary.target.backend,
        verdict=f"foreign: {foreign}" if foreign else summary.validity.verdict,
        seed=summary.run.seed,
        simulated=summary.target.simulated,
        foreign=foreign,
    )


def _row(wanted: Term, subjects: Sequence[Subject]) -> Row:
    figures = [subject.estimate(wanted) for subject in subjects]
    better = None if wanted.expression.metric in _SIZES else wanted.better
    currencies = _currencies(subjects)
    if wanted.unit == "money" and len(currencies) > 1:
        figures = [Estimate(reason="in several currencies")] * len(figures)
    return Row(
        term=wanted.name,
        unit=currencies[0] if wanted.unit == "money" and currencies else wanted.unit,
        better=better,
        figures=figures,
        versus=[
            _versus(wanted, better, (figures[0], figure), (subjects[0], subject))
            for figure, subject in zip(figures[1:], subjects[1:], strict=True)
        ],
    )


def _versus(
    wanted: Term, better: Better | None, figures: tuple[Estimate, Estimate], subjects: tuple[Subject, Subject]
) -> Versus:
    base, other = figures
    found = ratio([other], [base])
    metric = wanted.expression.metric
    chance = superiority(*(subject.values(metric) for subject in subjects)) if metric in METRICS else None
    return Versus(ratio=found, change=_change(found, better), superiority=chance, effect=_effect(chance))


def _change(found: Ratio | None, better: Better | None) -> Change:
    if found is None or found.low is None or found.high is None:
        return "unknown"
    if found.low <= 1 <= found.high:
        return "unclear"
    if better is None:
        return "changed"
    return "better" if (found.high < 1) == (better == "lower") else "worse"


def superiority(
    base: np.ndarray[tuple[int], np.dtype[np.float64]] | None,
    other: np.ndarray[tuple[int], np.dtype[np.float64]] | None,
) -> float | None:
    """P(other > base) + P(other = base) / 2, over all pairs of values (Vargha & Delaney 2000)."""
    if base is None or other is None or not len(base) or not len(other):
        return None
    ordered = np.sort(base)
    below = np.searchsorted(ordered, other, side="left").sum(dtype=np.float64)
    upto = np.searchsorted(ordered, other, side="right").sum(dtype=np.float64)
    return float((below + upto) / 2 / len(base) / len(other))


def _effect(chance: float | None) -> str:
    """The size of an effect in a word: Cliff's delta, 2 A - 1, at .147, .33 and .474 (Romano et al. 2006)."""
    if chance is None:
        return ""
    size = abs(2 * chance - 1)
    return "negligible" if size < 0.147 else "small" if size < 0.33 else "medium" if size < 0.474 else "large"
