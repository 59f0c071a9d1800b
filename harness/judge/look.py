"""SLOs judged at one of several looks: the more often one may look, the surer each look must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from harness.judge.expression import parse
from harness.metrics.summary import SloResult, SloVerdict

LOOKS = 3
WIDER = 2.3939797998185104 / 1.959963984540054  # z of 1 - 0.05 / 3 by z of 1 - 0.05, both two-sided (Bonferroni)

Held = Literal["holds", "fails", "undecided"]


def look(results: Sequence[SloResult]) -> Held:
    """All SLOs pass, any fails, or neither is sure.

    Intervals are taken `WIDER` times as far from the figure as the 95 % interval, which keeps the error of three looks
    together at 5 % where the figure is normal. A verdict without an interval (few misses, extremes) stands as it is.
    """
    verdicts = [at_look(result) for result in results]
    if "fail" in verdicts:
        return "fails"
    return "holds" if verdicts and all(verdict == "pass" for verdict in verdicts) else "undecided"


def at_look(result: SloResult) -> SloVerdict:
    """The verdict on one SLO, by the wider interval."""
    if result.ci95 is None or result.value is None or result.limit is None:
        return result.verdict
    low, high = (result.value + (bound - result.value) * WIDER for bound in result.ci95)
    if parse(result.expr).operator in ("<", "<="):
        return "pass" if high <= result.limit else "fail" if low > result.limit else "inconclusive"
    return "pass" if low >= result.limit else "fail" if high < result.limit else "inconclusive"


def surer(result: SloResult) -> SloResult:
    """The same result with the verdict of one look of three, and the reason where that is another one."""
    verdict = at_look(result)
    if verdict == result.verdict:
        return result
    reason = f"the limit is too near for one of {LOOKS} looks (load.max_duration)"
    return msgspec.structs.replace(result, verdict=verdict, reason=reason)
