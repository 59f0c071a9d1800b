"""What a run cost, in words and rows: per token, per session, at SLO, and against hosted models."""

from __future__ import annotations

from harness.metrics.summary import BreakEven, CostFigures, Summary
from harness.report.figures import clean
from harness.units import format_money, format_number, format_share

Rows = list[tuple[str, str]]

_BASIS = {"gpu_hour": "rented", "owned": "owned", "price": "by price list"}


def cost(cost: CostFigures | None, noun: str = "session") -> str:
    """What tokens and sessions cost, and on which basis; nothing where no price is known. `noun` is what a session is
    called."""
    if cost is None or cost.total is None:
        return ""
    told = (
        (cost.per_1m_tokens, "per 1M tokens"),
        (cost.per_1m_input_tokens, "per 1M in"),
        (cost.per_1m_output_tokens, "per 1M out"),
        (cost.per_good_session, f"per good {noun}"),
        (cost.per_session if cost.per_good_session is None else None, f"per {noun}"),
    )
    parts = [f"{_money(value, cost)} {what}" for value, what in told if value is not None]
    half = cost.at_utilisation.get("50")
    basis = _BASIS[cost.basis]
    if half is not None:
        basis += f", used 100 %; at 50 %: {_money(half, cost)} per 1M tokens"
    return f"{' · '.join(parts) or _money(cost.total, cost)}  ({basis})"


def break_even(cost: CostFigures | None) -> str:
    """From which use on the hardware of the run is cheaper than each hosted model."""
    told = [] if cost is None else [_against(api, cost) for api in cost.break_even if api.per_session is not None]
    return " · ".join(told)


def _against(api: BreakEven, cost: CostFigures) -> str:
    bills = f"{clean(api.model, 40)} {_money(api.per_session, cost)} a session"
    if api.utilisation is None:
        return bills
    sessions = f"{format_number(api.sessions_per_hour)} sessions/h"
    if api.utilisation > 1:
        return (
            f"{bills}: cheaper than this hardware at any use ({format_number(api.utilisation)} × full use, {sessions})"
        )
    return f"{bills}: this hardware is cheaper from {format_share(api.utilisation)} use ({sessions})"


def wire(summary: Summary) -> str:
    """Bytes on the wire for each output token, both ways."""
    wire = summary.wire
    if wire is None or wire.in_per_output_token is None:
        return ""
    received, sent = format_number(wire.in_per_output_token), format_number(wire.out_per_output_token)
    return f"{received} bytes received and {sent} sent per output token, headers included"


def cost_rows(cost: CostFigures | None) -> Rows:
    """Every figure of the cost that is known."""
    if cost is None:
        return []
    told = {
        "This run": (cost.total, ""),
        "An hour": (cost.per_hour, ""),
        **{f"of it {name}": (value, "") for name, value in (cost.parts if len(cost.parts) > 1 else {}).items()},
        "1M tokens, input and output": (cost.per_1m_tokens, "per_1m_tokens"),
        **{f"1M tokens, used {share} %": (value, "") for share, value in cost.at_utilisation.items()},
        "1M input tokens": (cost.per_1m_input_tokens, ""),
        "1M output tokens": (cost.per_1m_output_tokens, ""),
        "1M bytes of output": (cost.per_1m_output_bytes, ""),
        "1,000 requests": (cost.per_1k_requests, "per_1k_requests"),
        "A session": (cost.per_session, "per_session"),
        "A session that met the SLOs": (cost.per_good_session, "per_good_session"),
        "1M tokens at SLO": (cost.at_slo, ""),
        **{f"1M tokens at SLO, used {share} %": (value, "") for share, value in cost.at_slo_utilisation.items()},
        "Electricity of 1M tokens": (cost.electricity_per_1m_tokens, ""),
        **{
            f"InferenceX's way: the whole hour on {side} alone, 1M tokens": (value, "")
            for side, value in cost.inferencex.items()
        },
    }
    return [
        (clean(name), _with_range(value, field, cost)) for name, (value, field) in told.items() if value is not None
    ]


def break_even_rows(cost: CostFigures | None) -> list[tuple[str, ...]]:
    """A row a hosted model: name, its price of 1M tokens and of a session like these, break-even use and sessions an
    hour, and the date of the price."""
    if cost is None:
        return []
    return [
        (
            clean(api.model, 60),
            _money(api.per_1m_tokens, cost),
            _money(api.per_session, cost),
            format_share(api.utilisation),
            format_share(api.utilisation_at_slo),
            format_number(api.sessions_per_hour),
            clean(api.as_of or "–", 60),
        )
        for api in cost.break_even
    ]


def _with_range(value: float, field: str, cost: CostFigures) -> str:
    if field not in cost.intervals:
        return _money(value, cost)
    low, high = cost.intervals[field]
    return f"{_money(value, cost)} ({_money(low, cost)} … {_money(high, cost)})"


def _money(value: float | None, cost: CostFigures) -> str:
    return format_money(value, clean(cost.currency, 8))
