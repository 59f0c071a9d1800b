"""Bytes on the wire per output token, headers included, in both directions: network is part of the bill, too."""

from __future__ import annotations

from harness.metrics.cost_formulas import each
from harness.metrics.summary import WireFigures
from harness.metrics.table import UNKNOWN, RecordTable
from harness.metrics.window import Window


def wire_figures(table: RecordTable, window: Window) -> WireFigures | None:
    """Of all counted requests; None where bytes were not counted. Ratios are over requests whose tokens are known."""
    counted = window.counted[table.session]
    if not (table.bytes_in[counted] + table.bytes_out[counted]).any():
        return None
    known = counted & (table.output_tokens != UNKNOWN)
    tokens = int(table.output_tokens[known].sum())
    return WireFigures(
        bytes_in=int(table.bytes_in[counted].sum()),
        bytes_out=int(table.bytes_out[counted].sum()),
        in_per_output_token=each(float(table.bytes_in[known].sum()), tokens),
        out_per_output_token=each(float(table.bytes_out[known].sum()), tokens),
    )
