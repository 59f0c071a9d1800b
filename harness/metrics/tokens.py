"""Totals: sessions, requests, errors and tokens of all sessions but those of the warm-up."""

from __future__ import annotations

import numpy as np

from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Counts, RequestCounts, SessionCounts, Tokens
from harness.metrics.table import FAILED, OK, SOURCES, UNKNOWN, Ints, RecordTable
from harness.metrics.window import Window
from harness.records.manifest import Manifest


def tally(table: RecordTable, sessions: SessionTable, window: Window, manifest: Manifest) -> Counts:
    """`failed` sessions had a failed request; those cut short by an interrupt are neither finished nor failed."""
    counted = window.counted[table.session]
    failed = counted & (table.status == FAILED)
    errors = np.bincount(table.error[failed & (table.error >= 0)], minlength=len(table.names["error"]))
    planned = manifest.counted_share
    if planned is None and manifest.planned_share is not None:
        warmup = max(manifest.warmup_share, int((~window.counted).sum()))
        planned = max(manifest.planned_share - warmup, 0)
    return Counts(
        sessions=SessionCounts(
            planned=planned,
            finished=int((window.counted & sessions.whole).sum()),
            failed=int((window.counted & sessions.failed).sum()),
        ),
        requests=RequestCounts(
            sent=int((counted & (table.sent_ns != UNKNOWN)).sum()),
            ok=int((counted & (table.status == OK)).sum()),
            failed=int(failed.sum()),
            by_error={
                name: int(number)
                for number, name in sorted(zip(errors, table.names["error"], strict=True), reverse=True)
                if number
            },
        ),
    )


def totals(table: RecordTable, window: Window) -> Tokens:
    """Sums over requests whose tokens are known; None where none are. `source` is the weakest one in use."""
    counted = window.counted[table.session]

    def total(column: Ints) -> int | None:
        known = counted & (column != UNKNOWN)
        return int(column[known].sum()) if known.any() else None

    used = table.source[counted & (table.source >= 0)]
    return Tokens(
        input=total(table.input_tokens),
        cached_input=total(table.cached_tokens),
        output=total(table.output_tokens),
        reasoning=total(table.reasoning_tokens),
        source=SOURCES[int(used.max())] if len(used) else None,  # type: ignore[arg-type]
        cache_write=total(table.cache_write_tokens),
    )
