"""Input and output of one hour of hardware told apart, by the GPU time that each took. The method is always named.

    measured rates     g_in = N_uncached / R_prefill,  g_out = N_out / R_decode      (`cost.split`)
    engine's times     g_in, g_out = the seconds that the engine itself says its requests spent in prefill and in
                       decode over our window (the way of OpenCost's inference proposal)

A client cannot see prefill: time to first token holds the queue, too. So without either there is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.metrics.cost_formulas import input_share


@dataclass(frozen=True, slots=True)
class Apportionment:
    """The share of the cost that is input's, and how it was found."""

    input: float
    method: str


def apportion(
    rates: Mapping[str, float] | None,
    server: Mapping[str, Any] | None,
    uncached_input: float | None,
    output: float | None,
) -> Apportionment | None:
    """By given rates (`prefill`, `decode` in tokens/s) if there are any, else by the engine's own times, else None."""
    if rates:
        if uncached_input is None or output is None:
            return None
        share = input_share(uncached_input / rates["prefill"], output / rates["decode"])
        method = f"GPU time at {rates['prefill']:g} uncached input and {rates['decode']:g} output tokens/s (cost.split)"
    else:
        times = server or {}
        if "prefill_s" not in times or "decode_s" not in times:
            return None
        share = input_share(times["prefill_s"], times["decode_s"])
        method = "the engine's own time in prefill and decode"
    return None if share is None else Apportionment(share, method)
