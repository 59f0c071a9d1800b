"""What the run cost, from a rent by the hour or from prices by the token. Formulas are pure functions.

    rented      C_h = gpu_hour x gpus;  $/1M tokens = C_h x 1e6 / (3600 x X x U), X tokens/s in the window
    by price    C = [p_in (N_in - N_cached) + p_cached N_cached + p_out N_out] / 1e6

Failed work stays in the numerator. Input and output are told apart only where each has a price of its own: to
split an hour of rent between them, the time each took on the GPU must have been measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import ResultsError
from harness.metrics.goodput import Good
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import CostFigures, Counts, Rates, Tokens
from harness.metrics.table import Floats, RecordTable
from harness.metrics.throughput import delivered, taken_in
from harness.metrics.window import Window

UTILISATIONS = {"100": 1.0, "50": 0.5, "20": 0.2}

Bounds = dict[str, tuple[float, float]]


def per_million(per_hour: float, tokens_per_s: float | None, utilisation: float = 1.0) -> float | None:
    """$/1M tokens of a machine at `per_hour` that makes `tokens_per_s` when busy and is busy `utilisation`."""
    return per_hour * 1e6 / (3600 * tokens_per_s * utilisation) if tokens_per_s else None


def each(total: float | None, number: float | None) -> float | None:
    """A share of `total`; None where there is nothing to share it among."""
    return total / number if total is not None and number else None


def bill(prices: dict[str, float], fresh: Any, cached: Any, output: Any) -> Any:
    """Money for tokens (numbers or columns): uncached input, cached input, output; prices per 1M tokens.

    Cached input costs as much as other input where no price is given for it.
    """
    cached_price = prices.get("cached_input", prices["input"])
    return (prices["input"] * fresh + cached_price * cached + prices["output"] * output) / 1e6


def session_costs(terms_cost: dict[str, Any] | None, sessions: SessionTable) -> Floats | None:
    """What each session costs by price; None under rent, where a session has no cost of its own."""
    prices = (terms_cost or {}).get("price")
    if not prices:
        return None
    cached = np.nan_to_num(sessions.cached_tokens)
    result = bill(_checked(prices), sessions.input_tokens - cached, cached, sessions.output_tokens)
    return np.asarray(result, dtype=np.float64)


def cost(
    terms_cost: dict[str, Any] | None,
    table: RecordTable,
    window: Window,
    good: Good | None,
    counts: Counts,
    tokens: Tokens,
    rates: Rates,
    intervals: Bounds,
    good_sessions: int | None,
) -> CostFigures | None:
    """The cost of a run by the basis its config names; None where it names none."""
    if not terms_cost:
        return None
    currency, as_of = terms_cost.get("currency", "USD"), terms_cost.get("as_of")
    if terms_cost.get("price"):
        figures = by_price(_checked(terms_cost["price"]), tokens, counts, good_sessions)
    elif terms_cost.get("gpu_hour") is not None:
        per_hour = float(terms_cost["gpu_hour"]) * float(terms_cost.get("gpus", 1))
        figures = by_the_hour(per_hour, window.seconds, rates, intervals.get("total_tokens_per_s"))
        if good is not None and window.seconds > 0:
            useful = delivered(table, window) + taken_in(table, window)
            figures.at_slo = per_million(per_hour, float(useful[good.requests].sum()) / window.seconds)
    else:
        return None
    figures.currency, figures.as_of = currency, as_of
    return figures


def by_the_hour(
    per_hour: float, window_s: float, rates: Rates, tokens_interval: tuple[float, float] | None
) -> CostFigures:
    """Rented hardware, busy with this load and nothing else. `total` is the cost of the measured window."""
    speed = rates.total_tokens_per_s
    low, high = (per_million(per_hour, bound) for bound in reversed(tokens_interval or (0.0, 0.0)))
    return CostFigures(
        basis="gpu_hour",
        method=f"{per_hour:g} an hour over all input and output tokens of the window; input and output not split",
        total=per_hour * window_s / 3600,
        per_1m_tokens=per_million(per_hour, speed),
        per_1k_requests=each(per_hour / 3.6, rates.requests_per_s),
        per_session=each(per_hour, rates.sessions_per_hour),
        per_good_session=each(per_hour, rates.goodput_sessions_per_hour),
        at_utilisation={name: per_million(per_hour, speed, share) for name, share in UTILISATIONS.items()},
        ci95=None if low is None or high is None else (low, high),
    )


def by_price(prices: dict[str, float], tokens: Tokens, counts: Counts, good_sessions: int | None) -> CostFigures:
    """A hosted model's bill for all counted requests."""
    if tokens.input is None or tokens.output is None:
        return CostFigures(basis="price", method="tokens are unknown")
    cached = tokens.cached_input or 0
    total = float(bill(prices, tokens.input - cached, cached, tokens.output))
    output = prices["output"] * tokens.output / 1e6
    known = "as the server told" if tokens.cached_input is not None else "unknown, billed as uncached"
    return CostFigures(
        basis="price",
        method=f"bill of all counted requests per token; cached input {known}",
        total=total,
        per_1m_tokens=each(total * 1e6, tokens.input + tokens.output),
        per_1m_input_tokens=each((total - output) * 1e6, tokens.input),
        per_1m_output_tokens=each(output * 1e6, tokens.output),
        per_1k_requests=each(total * 1e3, counts.requests.ok),
        per_session=each(total, counts.sessions.finished),
        per_good_session=each(total, good_sessions),
    )


def _checked(prices: dict[str, float]) -> dict[str, float]:
    missing = [name for name in ("input", "output") if name not in prices]
    if missing:
        raise ResultsError(
            f"cost.price lacks {' and '.join(missing)}",
            remedy="give price: {input: ..., output: ...} per 1M tokens",
        )
    return prices
