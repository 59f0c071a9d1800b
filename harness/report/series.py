"""A run as one row of a table over time: what it is of, how far it can be trusted, and its figures."""

from __future__ import annotations

from harness.metrics.summary import Summary
from harness.report.figures import clean
from harness.report.measures import NAMES, measures

ABOUT = ("time", "run", "name", "engine", "engine_version", "model", "verdict")
HEADER = (*ABOUT, *NAMES)


def row(summary: Summary) -> list[str]:
    """In the order of `HEADER`; an unknown figure is empty. Times in seconds, shares as fractions."""
    run, target = summary.run, summary.target
    known = {one.name: one.value for one in measures(summary)}
    about = (run.started_at, run.id, run.name, target.engine or target.backend, target.engine_version, target.model)
    return [
        *(inert(text or "") for text in about),
        summary.validity.verdict,
        *(repr(known[name]) if name in known else "" for name in NAMES),
    ]


def inert(text: str) -> str:
    """Foreign text that no spreadsheet takes for a formula."""
    told = clean(text)
    return f"'{told}" if told.startswith(("=", "+", "-", "@")) else told
