"""What a run cost: by the hour of rented or owned hardware, or by a hosted model's prices.

    by the hour   C_h of all hardware; $/1M tokens = C_h x 1e6 / (3600 x X x U), X tokens/s in the window
    by price      the bill of all counted requests

Failed work stays in the numerator. The formulas are in `cost_formulas`, how an hour is told apart in `apportion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import ResultsError
from harness.hourly import electricity_hour, owned_hour, rented_hour
from harness.metrics import cost_formulas as formulas
from harness.metrics.apportion import apportion, page_times, told_times
from harness.metrics.cost_formulas import UTILISATIONS, each, per_million
from harness.metrics.goodput import Good
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import BreakEven, CostFigures, Summary
from harness.metrics.table import OK, Floats, RecordTable, counts
from harness.metrics.throughput import delivered, taken_in
from harness.metrics.window import MEASURE, Window

__all__ = ["Measured", "cost", "each", "session_costs"]

_BY_RATE = {
    "per_1m_tokens": "total_tokens_per_s",
    "per_1k_requests": "requests_per_s",
    "per_session": "sessions_per_hour",
    "per_good_session": "goodput_sessions_per_hour",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came out of a run: its records, and the summary with everything but its cost."""

    table: RecordTable
    sessions: SessionTable
    window: Window
    good: Good | None
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """An hour of all the hardware: its parts (None where one is unknown), what it is, and power that was measured."""

    parts: dict[str, float]
    basis: Any
    words: str

    @property
    def cost(self) -> float:
        return sum(self.parts.values())


def cost(terms: Mapping[str, Any] | None, measured: Measured) -> CostFigures | None:
    """The cost of a run by the basis its config names; None where it names none.

    Raises:
        ResultsError: the stored config has prices that are not whole.
    """
    if not terms:
        return None
    prices = _prices(terms.get("price"))
    if prices is not None:
        figures = _by_price(prices, measured)
    elif (hour := _hour(terms, measured.summary)) is not None:
        figures = _by_the_hour(hour, terms.get("split"), measured)
        _electricity(figures, terms.get("owned") or {}, measured.summary)
    else:
        return None
    listed = terms.get("price") if isinstance(terms.get("price"), dict) else {}
    figures.currency = terms.get("currency", "USD")
    figures.as_of = terms.get("as_of") or (listed or {}).get("as_of")
    figures.source = terms.get("source") or (listed or {}).get("source")
    figures.prices = prices or {}
    figures.break_even = [_break_even(api, figures.per_hour, measured) for api in terms.get("against") or ()]
    return figures


def session_costs(terms: Mapping[str, Any] | None, sessions: SessionTable) -> Floats | None:
    """What each session costs by price; None under rent, where a session has no cost of its own."""
    prices = _prices((terms or {}).get("price"))
    return None if prices is None else _bills(prices, sessions)


def _bills(prices: Mapping[str, float], sessions: SessionTable) -> Floats:
    """The bill of each session; tokens the server does not tell apart cost as much as the others of their side."""
    told = formulas.bill(
        prices,
        input=sessions.input_tokens,
        cached=np.nan_to_num(sessions.cached_tokens),
        written=np.nan_to_num(sessions.cache_write_tokens),
        output=sessions.output_tokens,
        reasoning=np.nan_to_num(sessions.reasoning_tokens),
        requests=sessions.requests,
    )
    return np.asarray(told, dtype=np.float64)


def _hour(terms: Mapping[str, Any], summary: Summary) -> Hour | None:
    """What an hour of the hardware costs, in its parts; None where the config names no hardware."""
    if terms.get("gpu_hour") is not None:
        rent, gpus = float(terms["gpu_hour"]), float(terms.get("gpus", 1))
        name = terms.get("accelerator") or "GPU"
        words = f"{gpus:g} × {name} rented at {rent:g} an hour"
        return Hour(parts=rented_hour(rent, gpus), basis="gpu_hour", words=words)
    owned = terms.get("owned")
    if not owned:
        return None
    kw, power = owned.get("kw"), "rated power"
    if kw is None and summary.energy is not None and summary.energy.watts is not None:
        kw, power = summary.energy.watts / 1000, "measured power"
    parts = owned_hour(owned, None if kw is None else float(kw))
    if "electricity" in parts:
        terms_of_it = f"{float(kw):.4g} kW × PUE {float(owned.get('pue', 1.3)):g} × {float(owned['kwh_price']):g} a kWh"
        power = f"electricity by {power} ({terms_of_it})"
    else:
        power = "electricity unknown and left out"
    years, interest = float(owned.get("life_years", 4.0)), float(owned.get("interest", 0.08))
    words = f"owned: {float(owned['capex']):g} over {years:g} years at {interest:.3g} interest; {power}"
    return Hour(parts=parts, basis="owned", words=words)


def _by_the_hour(hour: Hour, split: Mapping[str, float] | None, measured: Measured) -> CostFigures:
    """Hardware that is busy with this load and nothing else. `total` is the cost of the measured window."""
    window, rates, bounds = measured.window, measured.summary.rates, measured.summary.rates_ci95
    per_hour, speed = hour.cost, rates.total_tokens_per_s
    figures = CostFigures(
        basis=hour.basis,
        total=per_hour * window.seconds / 3600,
        per_1m_tokens=per_million(per_hour, speed),
        per_1k_requests=each(per_hour / 3.6, rates.requests_per_s),
        per_session=each(per_hour, rates.sessions_per_hour),
        per_good_session=each(per_hour, rates.goodput_sessions_per_hour),
        at_utilisation={name: per_million(per_hour, speed, share) for name, share in UTILISATIONS.items()},
        per_hour=per_hour,
        parts=hour.parts,
    )
    for name, rate in _BY_RATE.items():
        value, at = getattr(figures, name), getattr(rates, rate)
        low, high = bounds.get(rate, (0.0, 0.0))
        if value is not None and low > 0:
            figures.intervals[name] = (value * at / high, value * at / low)
    figures.ci95 = figures.intervals.get("per_1m_tokens")
    told = _apart(figures, per_hour, split, measured)
    figures.method = f"{hour.words}, over all input and output tokens of the window; {told}"
    return figures


def _apart(figures: CostFigures, per_hour: float, split: Mapping[str, float] | None, measured: Measured) -> str:
    """Fills in what needs the records: at SLO, bytes, input and output apart. Says how the last was done."""
    table, window = measured.table, measured.window
    if window.seconds <= 0:
        return "nothing was measured"
    output, input = delivered(table, window), taken_in(table, window)
    if measured.good is not None:
        useful = float((output + input)[measured.good.requests].sum())
        figures.at_slo = per_million(per_hour, useful / window.seconds)
        figures.at_slo_utilisation = {
            name: per_million(per_hour, useful / window.seconds, share) for name, share in UTILISATIONS.items()
        }
    whole = counts(table.output_tokens)
    whole[whole == 0] = np.nan
    figures.per_1m_output_bytes = per_million(
        per_hour, float((np.nan_to_num(output / whole) * table.output_bytes).sum()) / window.seconds
    )
    in_s, out_s = float(input.sum()) / window.seconds, float(output.sum()) / window.seconds
    figures.inferencex = {"input": per_million(per_hour, in_s), "output": per_million(per_hour, out_s)}
    tokens, target = measured.summary.tokens, measured.summary.target
    rows = (window.phases == MEASURE) & (table.status == OK)
    times = told_times(table, rows) or page_times(measured.summary.server, target.engine)
    uncached = None if tokens.input is None else tokens.input - (tokens.cached_input or 0)
    share = apportion(split, times, uncached, tokens.output)
    if share is None:
        return "input and output not told apart: the time each took was not measured"
    figures.split, figures.input_share = share.method, share.input
    figures.per_1m_input_tokens = per_million(per_hour * share.input, in_s)
    figures.per_1m_output_tokens = per_million(per_hour * (1 - share.input), out_s)
    unknown = ", all input taken as uncached" if split and tokens.cached_input is None else ""
    return f"input and output told apart by {share.method}{unknown}"


def _electricity(figures: CostFigures, owned: Mapping[str, Any], summary: Summary) -> None:
    """Electricity's part of 1M tokens: of the energy that was measured where it was, else of the rated power."""
    per_hour, price, energy = figures.parts.get("electricity"), owned.get("kwh_price"), summary.energy
    if price is not None and energy is not None and energy.watts is not None:
        per_hour = electricity_hour(energy.watts / 1000, float(owned.get("pue", 1.3)), float(price))
    if per_hour is not None:
        figures.electricity_per_1m_tokens = per_million(per_hour, summary.rates.total_tokens_per_s)


def _by_price(prices: Mapping[str, float], measured: Measured) -> CostFigures:
    """A hosted model's bill for all counted requests."""
    tokens, requests = measured.summary.tokens, measured.summary.counts.requests
    if tokens.input is None or tokens.output is None:
        return CostFigures(basis="price", method="tokens are unknown")
    cached, written = tokens.cached_input or 0, tokens.cache_write or 0
    first = float(formulas.input_bill(prices, input=tokens.input, cached=cached, written=written))
    second = float(formulas.output_bill(prices, output=tokens.output, reasoning=tokens.reasoning or 0))
    total = first + second + prices.get("per_request", 0.0) * requests.sent
    counted, good = measured.window.counted, measured.good
    known = "as the server told" if tokens.cached_input is not None else "unknown, billed as uncached"
    return CostFigures(
        basis="price",
        method=f"bill of all counted requests per token; cached input {known}",
        total=total,
        per_1m_tokens=each(total * 1e6, tokens.input + tokens.output),
        per_1m_input_tokens=each(first * 1e6, tokens.input),
        per_1m_output_tokens=each(second * 1e6, tokens.output),
        per_1k_requests=each(total * 1e3, requests.ok),
        per_session=each(total, measured.summary.counts.sessions.finished),
        per_good_session=each(total, None if good is None else int((good.sessions & counted).sum())),
        per_1m_output_bytes=each(total * 1e6, _bytes(measured)),
    )


def _bytes(measured: Measured) -> int:
    table = measured.table
    return int(table.output_bytes[measured.window.counted[table.session]].sum())


def _break_even(api: Mapping[str, Any], per_hour: float | None, measured: Measured) -> BreakEven:
    """The same sessions at a hosted model's price, and how busy hardware must be to be the cheaper one.

    Cached input is cached there as it was here; the tokens are those counted here.
    """
    prices = _prices(api)
    assert prices is not None
    sessions, window, rates = measured.sessions, measured.window, measured.summary.rates
    bills = _bills(prices, sessions)
    counted = window.counted & sessions.whole & ~np.isnan(bills)
    told = BreakEven(model=str(api.get("model") or "API"), as_of=api.get("as_of"), source=api.get("source"))
    told.prices = prices
    if not counted.any():
        return told
    session = float(bills[counted].mean())
    told.per_session = session
    told.per_1m_tokens = each(float(bills[counted].sum()) * 1e6, float(sessions.tokens[counted].sum()))
    if per_hour is not None:
        told.utilisation = formulas.break_even_utilisation(per_hour, session, rates.sessions_per_hour)
        told.utilisation_at_slo = formulas.break_even_utilisation(per_hour, session, rates.goodput_sessions_per_hour)
        told.sessions_per_hour = formulas.break_even_sessions(per_hour, session)
    return told


def _prices(listed: Any) -> dict[str, float] | None:
    """The figures of a price list; None where there is none."""
    if not listed:
        return None
    prices = {name: float(value) for name, value in listed.items() if isinstance(value, int | float)}
    if missing := [name for name in ("input", "output") if name not in prices]:
        raise ResultsError(
            f"cost.price lacks {' and '.join(missing)}",
            remedy="give price: {input: ..., output: ...} per 1M tokens",
        )
    return prices
