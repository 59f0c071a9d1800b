"""The formulas of cost, each a pure function of numbers; those of an hour of hardware are in `harness.hourly`.

Money is in any one currency; unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UTILISATIONS = {"100": 1.0, "50": 0.5, "20": 0.2}


def each(total: float | None, number: float | None) -> float | None:
    """A share of `total`; None where there is nothing to share it among."""
    return total / number if total is not None and number else None


def per_million(per_hour: float, per_s: float | None, utilisation: float = 1.0) -> float | None:
    """Money per 1M of something of which `per_s` comes out a second while busy: C_h x 1e6 / (3600 x X x U).

    `utilisation` is the share of the hours paid for in which the hardware is busy.
    """
    return per_hour * 1e6 / (3600 * per_s * utilisation) if per_s else None


def bill(
    prices: Mapping[str, float],
    *,
    input: Any,
    output: Any,
    cached: Any = 0,
    written: Any = 0,
    reasoning: Any = 0,
    requests: Any = 0,
) -> Any:
    """What a hosted model charges, for numbers or columns of tokens; prices per 1M tokens.

        [p_in (N_in - N_cached - N_written) + p_cached N_cached + p_write N_written
         + p_out (N_out - N_reasoning) + p_reasoning N_reasoning] / 1e6 x batch factor + fee x requests

    `input` holds cached and written tokens, `output` reasoning ones. A kind of token without a price of its own costs
    as much as the others on its side.
    """
    first, second = _sides(prices, input, cached, written, output, reasoning)
    return first + second + prices.get("per_request", 0.0) * requests


def input_bill(prices: Mapping[str, float], *, input: Any, cached: Any = 0, written: Any = 0) -> Any:
    """The part of the bill that is input."""
    return _sides(prices, input, cached, written, 0, 0)[0]


def output_bill(prices: Mapping[str, float], *, output: Any, reasoning: Any = 0) -> Any:
    """The part of the bill that is output."""
    return _sides(prices, 0, 0, 0, output, reasoning)[1]


def _sides(
    prices: Mapping[str, float], input: Any, cached: Any, written: Any, output: Any, reasoning: Any
) -> tuple[Any, Any]:
    scale = prices.get("batch_factor", 1.0) / 1e6
    fresh, text = prices["input"], prices["output"]
    first = (
        fresh * (input - cached - written)
        + prices.get("cached_input", fresh) * cached
        + prices.get("cache_write", fresh) * written
    )
    second = text * (output - reasoning) + prices.get("reasoning", text) * reasoning
    return first * scale, second * scale


def input_share(prefill_s: float, decode_s: float) -> float | None:
    """The share of an hour that input is charged with: g_in / (g_in + g_out). None where both are 0."""
    return each(prefill_s, prefill_s + decode_s)


def break_even_utilisation(per_hour: float, api_per_session: float, sessions_per_hour: float | None) -> float | None:
    """U* = C_h / (c_api x sessions an hour at full use). Busier than this, one's own hardware is the cheaper one;
    above 1 it never is."""
    return each(per_hour, api_per_session * sessions_per_hour) if sessions_per_hour else None


def break_even_sessions(per_hour: float, api_per_session: float) -> float | None:
    """Sessions an hour at which an API bills as much as the hardware costs: C_h / c_api."""
    return each(per_hour, api_per_session)
