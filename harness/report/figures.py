"""Figures as people read them: value with unit, interval, or a dash with the reason.

Every format tells its figures through these functions, so a figure reads the same wherever it is told.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from harness.metrics.quantiles import sample_floor
from harness.metrics.summary import MetricStats
from harness.units import format_duration, format_money, format_number, format_share

DASH = "–"

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_CURRENCY = re.compile(r"^[A-Z]{3}$")
_BARE = {"", "count"}
_SUFFIX_S = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
_UNTOLD = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@dataclass(frozen=True)
class Figure:
    """One figure. `text` has its unit; `spread` is half the 95 % interval; `note` says why there is none."""

    text: str
    spread: str = ""
    interval: str = ""
    note: str = ""
    value: float | None = None


def amount(value: float | None, unit: str) -> str:
    """Three significant digits with the unit: `176 ms`, `41.2 tokens`, `11.8 %`, `$0.0131`.

    `unit` is one of `harness.metrics.catalogue`, or a currency's code.
    """
    if value is None:
        return DASH
    if unit == "s":
        return format_duration(value)
    if unit == "share":
        return format_share(value)
    if _CURRENCY.match(unit):
        return format_money(value, unit)
    return format_number(value) if unit in _BARE else f"{format_number(value)} {unit}"


def spread(value: float, ci95: tuple[float, float], unit: str) -> str:
    """Half the width of an interval, in the unit in which `amount` tells the value: `±4.2`."""
    half = (ci95[1] - ci95[0]) / 2
    if unit == "share":
        return f"±{format_number(half * 100, 2)}"
    if unit != "s":
        return f"±{format_number(half, 2)}"
    suffix = format_duration(value).rsplit(" ", 1)[1]
    if abs(value) >= 119.5:  # told in minutes and seconds
        return f"±{format_duration(half, 2)}"
    return f"±{format_number(half / _SUFFIX_S[suffix], 2)}"


def interval(ci95: tuple[float, float] | None, unit: str) -> str:
    """`172 ms … 180 ms`, or nothing."""
    return f"{amount(ci95[0], unit)} … {amount(ci95[1], unit)}" if ci95 else ""


def figure(stats: MetricStats, quantity: str) -> Figure:
    """A percentile (`p50`, `p99.9`) or moment (`mean`) with its interval, or the reason why there is none."""
    value: float | None = getattr(stats, "p999" if quantity == "p99.9" else quantity)
    if value is None:
        return Figure(DASH, note=missing(stats.n, quantity))
    ci95 = stats.ci95.get(quantity)
    if ci95 is None:
        return Figure(amount(value, stats.unit), value=value)
    return Figure(amount(value, stats.unit), spread(value, ci95, stats.unit), interval(ci95, stats.unit), value=value)


def missing(n: int, quantity: str) -> str:
    """Why a figure is not told."""
    if n == 0:
        return "none measured"
    floor = sample_floor(_QUANTILES[quantity]) if quantity in _QUANTILES else 0
    return f"needs {format_number(floor, 9)}, have {format_number(n, 9)}" if n < floor else "not known"


def count(number: int, word: str) -> str:
    """`1 session`, `1,180 requests` with a thin separator."""
    return f"{format_number(number, 12)} {word}{'' if number == 1 else 's'}"


def clean(text: object, limit: int = 0) -> str:
    """Foreign text on one line, without control or direction characters, cut to `limit` characters."""
    flat = re.sub(r"[\n\r\t]", " ", str(text))
    told = "".join("\ufffd" if unicodedata.category(char) in _UNTOLD else char for char in flat).strip()
    return told if not limit or len(told) <= limit else told[: max(0, limit - 1)].rstrip() + "…"
