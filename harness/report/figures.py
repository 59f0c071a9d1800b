"""Figures as people read them: value with unit, interval, or a dash with the reason.

Every format tells its figures through these functions, so a figure reads the same wherever it is told.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from harness.metrics.quantiles import sample_floor
from harness.metrics.summary import MetricStats
from harness.units import THIN, format_duration, format_money, format_number, format_share

DASH = "–"

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_CURRENCY = re.compile(r"^[A-Z]{3}$")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
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
    if unit == "ratio":
        return f"{format_number(value)} ×"
    if _CURRENCY.match(unit):
        return format_money(value, unit)
    if unit == "count" and value == int(value):
        return whole(int(value))
    return format_number(value) if unit in _BARE else f"{format_number(value)} {unit}"


def spread(value: float, ci95: tuple[float, float], unit: str) -> str:
    """Half the width of an interval, in the unit and to the digit in which `amount` tells the value: `±4.2`."""
    half = (ci95[1] - ci95[0]) / 2
    scale = 1.0
    if unit == "share":
        scale = 0.01
    elif unit == "s" and abs(value) >= 119.5:  # told in minutes and seconds
        return f"±{format_duration(half, 2)}"
    elif unit == "s":
        scale = _SUFFIX_S[format_duration(value).rsplit(" ", 1)[1]]
    return f"±{_to_the_digit(half / scale, format_number(value / scale))}"


def _to_the_digit(half: float, told: str) -> str:
    """`half` with no more decimals than `told` has, unless it would vanish; two significant digits at most."""
    decimals = len(told.partition(".")[2])
    rounded = round(half, decimals)
    if rounded == 0:
        return format_number(half, 1)
    return f"{rounded:.{decimals}f}" if rounded < 10 else format_number(half, 2)


def interval(ci95: tuple[float, float] | None, unit: str) -> str:
    """`172 … 180 ms`: the unit once where both ends have the same. Nothing where there is no interval."""
    if not ci95:
        return ""
    low, high = (amount(end, unit) for end in ci95)
    number, space, suffix = low.partition(" ")
    if space and high.partition(" ")[2] == suffix and suffix.count(" ") == 0:
        low = number
    return f"{low} … {high}"


def figure(stats: MetricStats, quantity: str) -> Figure:
    """A percentile (`p50`, `p99.9`) or moment (`mean`) with its interval, or the reason why there is none."""
    value: float | None = getattr(stats, "p999" if quantity == "p99.9" else quantity)
    if value is None:
        return Figure(DASH, note=missing(stats.n, quantity))
    ci95 = stats.ci95.get(quantity)
    if ci95 is None or ci95[0] == ci95[1]:  # all values around it are equal
        return Figure(amount(value, stats.unit), value=value)
    return Figure(amount(value, stats.unit), spread(value, ci95, stats.unit), interval(ci95, stats.unit), value=value)


def missing(n: int, quantity: str) -> str:
    """Why a figure is not told."""
    if n == 0:
        return "none measured"
    floor = sample_floor(_QUANTILES[quantity]) if quantity in _QUANTILES else 0
    return f"needs {whole(floor)}, have {whole(n)}" if n < floor else "not known"


def whole(number: int) -> str:
    """A count: every digit, with thin separators."""
    return f"{number:,}".replace(",", THIN)


def count(number: int, word: str) -> str:
    """`1 session`, `1,180 requests` with a thin separator."""
    return f"{whole(number)} {word}{'' if number == 1 else 's'}"


def clean(text: object, limit: int = 0) -> str:
    """Foreign text on one line, without control or direction characters, cut to `limit` characters."""
    flat = re.sub(r"[\n\r\t]", " ", str(text))
    told = "".join("\ufffd" if unicodedata.category(char) in _UNTOLD else char for char in flat).strip()
    return told if not limit or len(told) <= limit else told[: max(0, limit - 1)].rstrip() + "…"


def inert(text: object) -> str:
    """Foreign text for a cell of a table that no spreadsheet takes for a formula; a number stays one."""
    told = clean(text)
    return f"'{told}" if told.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(told) else told
