"""The classic table of engines: model, optimisation, concurrency, tokens/s, ms/token, memory. One row a run."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.metrics.summary import Summary
from harness.metrics.terms import Terms

CLASSIC_COLUMNS = ("model", "optimisation", "concurrency", "tokens_per_s", "ms_per_token", "memory_gb")


class ClassicRow(msgspec.Struct, frozen=True, kw_only=True):
    """Unknown is None.

    Attributes:
        optimisation: the engine, its version, and the numbers its weights are held in, as far as they are known.
        concurrency: live sessions of a closed loop; None for an open one.
        rate: sessions that were to arrive a second in an open loop; None for a closed one.
        tokens_per_s: output tokens of all users.
        ms_per_token: median time per output token after the first, of one user.
        memory_gb: 1e9 bytes at the peak, all that `memory_of` held: GPUs, else the engine's processes.
    """

    model: str
    optimisation: str
    concurrency: int | None
    rate: float | None = None
    tokens_per_s: float | None
    ms_per_token: float | None
    memory_gb: float | None
    memory_of: Literal["GPUs", "processes"] | None = None


def classic_row(summary: Summary, terms: Terms | None = None, precision: str = "") -> ClassicRow:
    """The row of one run. `precision` is how its weights are held, e.g. `Q4_K_M`; empty where that is not known."""
    target, tpot = summary.target, summary.metrics.get("tpot")
    machine = (summary.server or {}).get("machine") or {}
    on_gpu, resident = machine.get("gpu_memory_bytes_max"), machine.get("engine_rss_bytes_max")
    held = on_gpu or resident
    median = None if tpot is None else tpot.p50
    return ClassicRow(
        model=target.model,
        optimisation=" ".join(filter(None, (target.engine or target.backend, target.engine_version, precision))),
        concurrency=None if terms is None else terms.concurrency,
        rate=None if terms is None else terms.rate,
        tokens_per_s=summary.rates.output_tokens_per_s,
        ms_per_token=None if median is None else median * 1000,
        memory_gb=None if not held else held / 1e9,
        memory_of="GPUs" if on_gpu else "processes" if resident else None,
    )
