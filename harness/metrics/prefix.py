"""Prefix reuse: how much of the prompts came from a cache, and how much could have (H, H* and H / H*)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harness.metrics.session_figures import PrefixReuse
from harness.metrics.table import UNKNOWN, Bools, Floats, RecordTable, counts

# By session and node: the share of the prompt that an infinite cache would hold.
Planned = Iterable[tuple[str, Mapping[str, float]]]

UNTOLD = "the server tells no cached tokens"


def told_rows(table: RecordTable, rows: Bools) -> Bools:
    """Those of the rows whose cached tokens the server told."""
    return np.asarray(rows & (table.cached_tokens != UNKNOWN) & (table.input_tokens > 0))


def measured_share(table: RecordTable, rows: Bools) -> float | None:
    """H: cached over prompt tokens of the rows whose cached tokens the server told; None where it told none."""
    told = told_rows(table, rows)
    if not told.any():
        return None
    return float(table.cached_tokens[told].sum() / table.input_tokens[told].sum())


def intended_share(table: RecordTable, rows: Bools, planned: Planned) -> float | None:
    """H*: the share of the same prompts that an infinite cache would have held.

    Each prompt's planned share weighs as much as the prompt is long; where the server told cached tokens of some
    answers only, of these. Sessions that `planned` does not reach are left out. None where nothing is known.
    """
    told = told_rows(table, rows)
    chosen = np.flatnonzero(told if told.any() else rows)
    if not len(chosen):
        return None
    chosen = chosen[np.argsort(table.session[chosen], kind="stable")]
    codes, starts = np.unique(table.session[chosen], return_index=True)
    places = {
        table.names["session"][code]: part
        for code, part in zip(codes.tolist(), np.split(chosen, starts[1:]), strict=True)
    }
    weights = _prompt_tokens(table)
    names = table.names["node"]
    held = whole = 0.0
    for session, shares in planned:
        for row in places.pop(session, ()):
            share = shares.get(names[table.node[row]])
            if share is not None and weights[row] > 0:
                held += share * weights[row]
                whole += weights[row]
        if not places:
            break
    return float(held / whole) if whole else None


def prefix_reuse(table: RecordTable, rows: Bools, ideal: float | None) -> PrefixReuse:
    """The figures of the measured requests. `ideal` is H* (`manifest.settings.cached_share`)."""
    measured = measured_share(table, rows)
    reason = ""
    if measured is None:
        reason = UNTOLD
    elif ideal is None:
        reason = "the plan's share is not known"
    return PrefixReuse(
        measured=measured,
        ideal=ideal,
        capture=measured / ideal if measured is not None and ideal else None,
        requests=int(told_rows(table, rows).sum()),
        reason=reason,
    )


def _prompt_tokens(table: RecordTable) -> Floats:
    actual = counts(table.input_tokens)
    return np.where(np.isnan(actual), counts(table.planned_input), actual)
