"""A run as one row of a table over time: what it is of, how far it can be trusted, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from harness.judge.term import Term, term
from harness.metrics.summary import Summary
from harness.report.figures import inert
from harness.report.measures import NAMES

ABOUT = ("time", "run", "name", "engine", "engine_version", "model", "verdict")
HEADER = (*ABOUT, *NAMES)


def row(summary: Summary, names: Sequence[str] = NAMES) -> list[str]:
    """In the order of `ABOUT` and `names`; an unknown figure is empty. Times in seconds, shares as fractions."""
    run, target = summary.run, summary.target
    about = (run.started_at, run.id, run.name, target.engine or target.backend, target.engine_version, target.model)
    values = (_term(name).of_summary(summary).value for name in names)
    return [
        *(inert(text or "") for text in about),
        summary.validity.verdict,
        *("" if value is None else repr(value) for value in values),
    ]


@lru_cache
def _term(name: str) -> Term:
    return term(name)
