"""How much longer a run must be for its undecided SLOs to be decided."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.metrics.summary import SloResult, Summary
from harness.units import parse_duration

_NEEDS = re.compile(r"needs ([\d,]+)\b.*?\bhas ([\d,]+)")
_SPARE = 1.25  # the next sample is another one
_LEAST, _MOST = 1.5, 50.0
_UNKNOWN = 4.0  # where nothing tells how far the evidence is from enough


def longer(summary: Summary, load: Mapping[str, Any]) -> list[str]:
    """Overrides, `load.duration=240s` or `load.sessions=800`: whichever ends the run, both where both are set. Long
    enough for the SLO that needs most, but at most fifty times as long: then another load or limit is called for."""
    factors = [factor for result in summary.slo if (factor := _factor(result)) is not None]
    factor = min(max(max(factors, default=_UNKNOWN) * _SPARE, _LEAST), _MOST)
    words = []
    sessions = load.get("sessions")
    if isinstance(sessions, int):
        words.append(f"load.sessions={_round(sessions * factor)}")
    if load.get("duration") is not None or not words:
        words.append(f"load.duration={_round(_asked_s(summary, load) * factor)}s")
    return words


def _asked_s(summary: Summary, load: Mapping[str, Any]) -> float:
    """How long it took, or was to take where it ended early."""
    try:
        asked = parse_duration(load.get("duration") or 0.0)
    except ValueError:
        asked = 0.0
    return max(summary.run.duration_s, asked, 1.0)


def _factor(result: SloResult) -> float | None:
    """By how much the sample must grow; None where the SLO is decided, or more of the same would not decide it.

    The width of an interval falls with the root of the sample; that of a share of which nothing was seen, with it.
    """
    if result.verdict != "inconclusive":
        return None
    if result.ci95 is not None and result.value is not None and result.limit is not None:
        near = result.ci95[1] if result.limit > result.value else result.ci95[0]
        apart = abs(result.limit - result.value)
        ratio = abs(near - result.value) / apart if apart > 0 else _MOST
        return ratio if result.value == 0 else ratio**2
    found = _NEEDS.search(result.reason)
    if found is None:
        return None
    needs, has = (float(number.replace(",", "")) for number in found.groups())
    return needs / max(has, 1.0)


def _round(number: float) -> int:
    """Up to two digits: 217 is 220."""
    step: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(round(number / step, 6)) * step


def options(words: Iterable[str]) -> str:
    """As they are typed."""
    return " ".join(f"-o {word}" for word in words)
