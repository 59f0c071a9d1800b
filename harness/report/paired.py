"""An A/B test, for people: plain text for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.judge.likeness import Difference
from harness.judge.paired import Measured
from harness.report.comparison import change, markdown_table, table
from harness.report.figures import amount, clean
from harness.report.markup import escape
from harness.units import format_share

_MARKS = {"regression": "✗ worse", "same": "✓ no worse", "inconclusive": "! inconclusive", "unknown": "– unknown"}
_HEADS = {
    0: "✓ no worse",
    4: "✗ invalid: no judgement",
    11: "✗ regression",
    12: "! inconclusive",
}


def rows(measured: Iterable[Measured]) -> list[list[str]]:
    """A head, and a row a metric: the gated ones first."""
    body = [row(one) for one in ordered(measured)]
    return [["", "", "candidate to base", "verdict", "could see", "why"], *body]


def ordered(measured: Iterable[Measured]) -> list[Measured]:
    """The gated ones first."""
    return sorted(measured, key=lambda one: not one.gated)


def row(one: Measured) -> list[str]:
    """Name, both figures, change, verdict, the change that could be seen, and the reason."""
    told = _MARKS[one.verdict] if one.gated else f"{_MARKS[one.verdict]} (advisory)"
    values = f"{amount(_middle(one, 'base'), one.unit)} → {amount(_middle(one, 'candidate'), one.unit)}"
    sign = "+" if one.better == "lower" else "−"
    seen = "" if one.could_see is None else f"{sign}{format_share(one.could_see, 2)}"
    return [one.term, values, change(one.change), told, seen, one.reason]


def _middle(one: Measured, arm: str) -> float | None:
    values = sorted(value for pair in one.pairs if (value := getattr(pair, arm)) is not None)
    return values[len(values) // 2] if values else None


def head(exit_code: int, base: str, candidate: str) -> str:
    """The verdict in a line."""
    return f"{verdict(exit_code)}: {clean(candidate, 64)} against {clean(base, 64)}   exit {exit_code}"


def verdict(exit_code: int) -> str:
    """`✗ regression`."""
    return _HEADS.get(exit_code, "✗ error")


def text(title: str, measured: Sequence[Measured], apart: Sequence[Difference], notes: Sequence[str]) -> str:
    """Plain text."""
    lines = ["", f" {title}", "", *table(rows(measured)), "", *_end(apart, notes, " · ")]
    return "\n".join(lines) + "\n"


def markdown(title: str, measured: Sequence[Measured], apart: Sequence[Difference], notes: Sequence[str]) -> str:
    """GitHub's flavour."""
    lines = [f"## {escape(title)}", "", *markdown_table(rows(measured)), ""]
    return "\n".join([*lines, *map(_escaped, _end(apart, notes, "- "))]) + "\n"


def _end(apart: Sequence[Difference], notes: Sequence[str], bullet: str) -> Iterable[str]:
    yield from (f"{bullet}{clean(note)}" for note in notes)
    yield from (f"{bullet}differs: {clean(difference.told())}" for difference in apart)
    if not apart:
        yield f"{bullet}the two configs are the same"


def _escaped(line: str) -> str:
    return "- " + escape(line.removeprefix("- "))
