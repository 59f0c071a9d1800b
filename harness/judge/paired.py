"""Pairs of runs, one of each pair with the candidate and one with the base: is the candidate worse?

y = ln(candidate / base) of each pair (turned round where higher is better), so y > 0 is worse. A pair shares machine,
time, seed and workload slice, so what drifts with the machine cancels. Student's t over the pairs then tells

    regression   the one-sided 95 % lower bound of mean(y) lies above ln(1 + margin)
    same         the one-sided 95 % upper bound of mean(y) lies at or below ln(1 + margin)
    inconclusive neither

Regression is tested for up to three gated metrics at once, with Holm's correction (Holm 1979): the chance of any false
alarm stays at 5 %. All gated metrics must be shown to be the same before the whole is (intersection-union: no
correction is due). Everything else is advisory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from harness.errors import ExitCode
from harness.judge.contrast import Ratio
from harness.judge.student import t_cdf, t_quantile
from harness.judge.term import Better, Term

ALPHA = 0.05
POWER = 0.9
ASSUMED_SPREAD = 0.05  # of y from pair to pair, before anything was measured
MOST_GATED = 3
LEAST_PAIRS = 3

PairVerdict = Literal["regression", "same", "inconclusive", "unknown"]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The figure of one metric in one pair; None where a run was too small to tell it."""

    base: float | None
    candidate: float | None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over all pairs.

    `change` is candidate / base (geometric mean) with its two-sided 95 % interval. `worse_low` and `worse_high` are
    the one-sided 95 % bounds of how much worse the candidate is (1.05: 5 % worse). `p` is that of "no worse than the
    margin", `p_holm` the same after Holm's correction. `could_see` is the smallest change that this many pairs with
    this spread find nine times out of ten.
    """

    term: str
    unit: str
    better: Better
    gated: bool
    verdict: PairVerdict
    pairs: list[Pair]
    n: int = 0
    change: Ratio | None = None
    worse_low: float | None = None
    worse_high: float | None = None
    spread: float | None = None
    p: float | None = None
    p_holm: float | None = None
    could_see: float | None = None
    reason: str = ""


def judge_pairs(terms: Sequence[tuple[Term, bool]], pairs: Sequence[Sequence[Pair]], margin: float) -> list[Measured]:
    """A verdict for each term; `terms` says which are gated, `pairs` holds the pairs of each."""
    raw = [_measure(term, gated, found, margin) for (term, gated), found in zip(terms, pairs, strict=True)]
    corrected = holm([one.p for one in raw if one.gated and one.p is not None])
    done = []
    for one in raw:
        p_holm = corrected.pop(0) if one.gated and one.p is not None else one.p
        done.append(msgspec.structs.replace(one, p_holm=p_holm, verdict=_verdict(one, p_holm, margin)))
    return done


def overall(measured: Sequence[Measured]) -> ExitCode:
    """Regression if any gated metric is one, passed if all are the same, else inconclusive."""
    gated = [one.verdict for one in measured if one.gated]
    if "regression" in gated:
        return ExitCode.REGRESSION
    return ExitCode.PASSED if gated and all(verdict == "same" for verdict in gated) else ExitCode.INCONCLUSIVE


def could_see(spread: float, pairs: int, margin: float) -> float:
    """The minimum detectable effect: the change that is found with 90 % power at 5 % error. As a share: 0.08 is 8 %.

    (1 + margin) exp((t_0.95 + t_0.90) s / sqrt(n)) - 1, the usual approximation of the noncentral t.
    """
    reach = t_quantile(1 - ALPHA, pairs - 1) + t_quantile(POWER, pairs - 1)
    return (1 + margin) * math.exp(reach * spread / math.sqrt(pairs)) - 1


def holm(values: Sequence[float]) -> list[float]:
    """p values after Holm's step-down correction, in the order given."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def _measure(term: Term, gated: bool, pairs: Sequence[Pair], margin: float) -> Measured:
    blank = Measured(
        term=term.name, unit=term.unit, better=term.better, gated=gated, verdict="unknown", pairs=list(pairs)
    )
    known = [(pair.base, pair.candidate) for pair in pairs if pair.base is not None and pair.candidate is not None]
    if len(pairs) < LEAST_PAIRS:
        reason = f"needs {LEAST_PAIRS} pairs, has {len(pairs)}"
        return msgspec.structs.replace(blank, n=len(known), reason=reason)
    if len(known) < len(pairs):
        reason = f"{len(pairs) - len(known)} of {len(pairs)} pairs do not tell it: give each run more sessions or time"
        return msgspec.structs.replace(blank, n=len(known), reason=reason)
    if any(not (base > 0 and candidate > 0) for base, candidate in known):
        return msgspec.structs.replace(blank, n=len(known), reason="a figure that is not above zero has no ratio")
    logs = [math.log(candidate / base) for base, candidate in known]
    n, mean = len(logs), math.fsum(logs) / len(logs)
    spread = math.sqrt(math.fsum((y - mean) ** 2 for y in logs) / (n - 1))
    error = spread / math.sqrt(n)
    two, one = t_quantile(1 - ALPHA / 2, n - 1) * error, t_quantile(1 - ALPHA, n - 1) * error
    worse = mean if term.better == "lower" else -mean
    return msgspec.structs.replace(
        blank,
        n=n,
        change=Ratio(value=math.exp(mean), low=math.exp(mean - two), high=math.exp(mean + two)),
        worse_low=math.exp(worse - one),
        worse_high=math.exp(worse + one),
        spread=spread,
        p=_p(worse - math.log1p(margin), error, n),
        could_see=could_see(spread, n, margin),
    )


def _p(beyond: float, error: float, n: int) -> float:
    """P of such a mean, or a worse one, where the truth is the margin itself."""
    if error == 0:
        return 0.0 if beyond > 0 else 1.0
    return 1 - t_cdf(beyond / error, n - 1)


def _verdict(one: Measured, p: float | None, margin: float) -> PairVerdict:
    if one.worse_high is None or p is None:
        return "unknown"
    if p < ALPHA:
        return "regression"
    return "same" if one.worse_high <= 1 + margin else "inconclusive"
