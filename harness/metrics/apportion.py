"""Input and output of one hour of hardware told apart, by the GPU time that each took. The method is always named.

    measured rates     g_in = N_uncached / R_prefill,  g_out = N_out / R_decode      (`cost.split`)
    engine's times     g_in, g_out = the seconds that the engine itself says its requests spent in prefill and in
                       decode (the way of OpenCost's inference proposal): by request where each answer tells them,
                       else by the counters of its page of metrics over our window

A client cannot see prefill: time to first token holds the queue, too. So without either there is no answer. The page
of llama.cpp counts prefill once for the whole batch and decode once for each request in it (at four requests at once
its prefill falls to less than half of what the answers tell), so its two counters are not comparable and not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics.cost_formulas import input_share
from harness.metrics.table import UNKNOWN, Bools, RecordTable

_INCOMPARABLE = ("llama.cpp", "llamacpp")
_ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class Apportionment:
    """The share of the cost that is input's, and how it was found."""

    input: float
    method: str


def told_times(table: RecordTable, rows: Bools) -> tuple[float, float] | None:
    """Seconds of prefill and decode that the answers of these rows tell; None where fewer than 95 % tell them."""
    told = rows & (table.prefill_us != UNKNOWN) & (table.decode_us != UNKNOWN)
    if not told.any() or told.sum() < _ENOUGH * rows.sum():
        return None
    return float(np.sum(table.prefill_us[told]) / 1e6), float(np.sum(table.decode_us[told]) / 1e6)


def page_times(server: Mapping[str, Any] | None, engine: str) -> tuple[float, float] | None:
    """The same by the engine's page of metrics; None where it has none that can be compared."""
    times = server or {}
    if "prefill_s" not in times or "decode_s" not in times or engine.lower().startswith(_INCOMPARABLE):
        return None
    return float(times["prefill_s"]), float(times["decode_s"])


def apportion(
    rates: Mapping[str, float] | None,
    times: tuple[float, float] | None,
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
        if times is None:
            return None
        share = input_share(*times)
        method = "the engine's own time in prefill and decode"
    return None if share is None else Apportionment(share, method)
