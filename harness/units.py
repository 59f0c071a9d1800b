"""Units: how durations, rates, percentages and sizes are written in configs, and how figures are told.

Inside the house time is seconds (float) or nanoseconds (int, names end in `_ns`); shares are fractions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NS_PER_S = 1_000_000_000

_DURATION = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)"
_DURATION_RE = re.compile(rf"^{_NUMBER}\s*(ns|us|µs|ms|s|m|h)$")
_RATE_RE = re.compile(rf"^{_NUMBER}\s*/\s*(s|m|h)$")
_PERCENT_RE = re.compile(rf"^{_NUMBER}\s*%$")
_COUNT_RE = re.compile(rf"^{_NUMBER}\s*([kKMG]?)$")
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}

THIN = "\N{NARROW NO-BREAK SPACE}"
_BLOCKS = "▁▂▃▄▅▆▇█"


def parse_duration(value: str | int | float) -> float:
    """Seconds from `250ms`, `2s`, `1.5m`, `1h`, or a bare number of seconds.

    Raises:
        ValueError: the text is not a duration, or the duration is negative or not finite.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a duration")
    if isinstance(value, int | float):
        seconds = float(value)
    else:
        match = _DURATION_RE.match(value.strip())
        if match:
            seconds = float(match[1]) * _DURATION[match[2]]
        else:
            try:
                seconds = float(value)
            except ValueError:
                raise ValueError(f"{value!r} is not a duration (write 250ms, 2s, 1.5m or 1h)") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a duration: it must be finite and not negative")
    return seconds


def parse_rate(value: str | int | float) -> float:
    """Events a second from `5/s`, `300/m`, `10/h`, or a bare number a second.

    Raises:
        ValueError: the text is not a rate, or the rate is not positive and finite.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a rate")
    if isinstance(value, int | float):
        rate = float(value)
    else:
        match = _RATE_RE.match(value.strip())
        if match:
            rate = float(match[1]) / _DURATION[match[2]]
        else:
            try:
                rate = float(value)
            except ValueError:
                raise ValueError(f"{value!r} is not a rate (write 5/s, 300/m or 10/h)") from None
    if not math.isfinite(rate) or rate <= 0:
        raise ValueError(f"{value!r} is not a rate: it must be positive and finite")
    return rate


def parse_share(value: str | int | float) -> float:
    """A fraction from `5%` or `0.05`.

    Raises:
        ValueError: the text is neither.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a share")
    if isinstance(value, int | float):
        return float(value)
    match = _PERCENT_RE.match(value.strip())
    if match:
        return float(match[1]) / 100.0
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a share (write 5% or 0.05)") from None


def parse_count(value: str | int | float) -> float:
    """A number with an optional k, M or G: `1.2k` is 1200.

    Raises:
        ValueError: the text is not such a number.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, int | float):
        return float(value)
    match = _COUNT_RE.match(value.strip())
    if not match:
        raise ValueError(f"{value!r} is not a number")
    return float(match[1]) * _SCALE[match[2]]


def _significant(value: float, digits: int) -> str:
    """`value` with `digits` significant digits, without exponent, thousands apart by a thin space."""
    if value == 0:
        return "0"
    whole = math.floor(math.log10(abs(value))) + 1
    decimals = max(0, digits - whole)
    rounded = round(value, digits - whole)
    if rounded != 0 and math.floor(math.log10(abs(rounded))) + 1 > whole:  # 9.996 -> 10.0, not 10.00
        decimals = max(0, decimals - 1)
    return f"{rounded:,.{decimals}f}".replace(",", THIN)


def format_number(value: float | None, digits: int = 3) -> str:
    """Three significant digits and thin separators; an unknown figure is a dash. An int gets no decimals."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        whole = len(str(abs(value)))
        return f"{round(value, min(0, digits - whole)):,}".replace(",", THIN)
    return _significant(value, digits)


def format_duration(seconds: float | None, digits: int = 3) -> str:
    """Seconds as people read them: `412 µs`, `176 ms`, `6.10 s`, `3 min 20 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    size = abs(seconds)
    if size == 0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{_significant(seconds * 1e6, digits)} µs"
    if size < 0.9995:
        return f"{_significant(seconds * 1e3, digits)} ms"
    if size < 119.5:
        return f"{_significant(seconds, digits)} s"
    if size < 7170:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02d} min"


def format_share(share: float | None, digits: int = 3) -> str:
    """A fraction as a percentage: `0.118` is `11.8 %`."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{_significant(share * 100, digits)} %"


def format_money(amount: float | None, currency: str = "USD", digits: int = 3) -> str:
    """An amount with its currency: `$0.0412`, `€1.20`, `3.10 CHF`."""
    if amount is None or not math.isfinite(amount):
        return "–"
    symbol = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}.get(currency)
    text = _significant(amount, digits)
    return f"{symbol}{text}" if symbol else f"{text} {currency}"


def sparkline(values: Sequence[float | None]) -> str:
    """One block a value, from 0 to the largest, and a space for what is not known; nothing where all is 0."""
    most = max((value for value in values if value is not None), default=0.0)
    if most <= 0:
        return ""
    return "".join(" " if value is None else _BLOCKS[round(value / most * (len(_BLOCKS) - 1))] for value in values)
