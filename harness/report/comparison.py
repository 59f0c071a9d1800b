"""A comparison of runs, for people: plain text for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from harness.judge.comparison import Comparison, Row, Versus
from harness.judge.contrast import Ratio
from harness.judge.likeness import Difference
from harness.judge.slo import Estimate
from harness.report.classic import HOSTED_NOTE, classic, classic_note, hosted
from harness.report.figures import DASH, amount, clean, spread
from harness.report.markup import escape
from harness.units import format_number

MARKS = {"better": "✓ better", "worse": "✗ worse", "changed": "· changed", "unclear": "· no difference shown"}
_EFFECT = "effect is Cliff's delta in a word, over all values: negligible < 0.15 < small < 0.33 < medium < 0.47 < large"
_MANIFOLD = 10.0
_CELLS = 3  # of a run against A: the change, in a word, the effect


def change(found: Ratio | None) -> str:
    """`+11.8 %  (+9.1 … +14.6 %)`: a ratio as a change, with its interval where it has one. `× 12.3  (11.0 … 13.8)`
    where it is tenfold or more."""
    if found is None:
        return DASH
    if found.value >= _MANIFOLD:
        bounds = () if found.low is None or found.high is None else (found.low, found.high)
        told = f"× {format_number(found.value)}"
        return f"{told}  ({' … '.join(map(format_number, bounds))})" if bounds else told
    told = percent(found.value)
    if found.low is None or found.high is None:
        return f"{told} %"
    return f"{told} %  ({percent(found.low)} … {percent(found.high)} %)"


def percent(ratio: float) -> str:
    """A ratio as a signed change in percent, without the sign of percent: 1.118 is `+11.8`."""
    return f"{(ratio - 1) * 100:+.1f}".replace("-", "−")


def text(comparison: Comparison, width: int = 0) -> str:
    """Plain text. What is wider than `width` columns is told in parts under each other; 0 is without a limit."""
    return "\n".join(_text(comparison, width)).rstrip() + "\n"


def markdown(comparison: Comparison) -> str:
    """GitHub's flavour."""
    return "\n".join(_markdown(comparison)).rstrip() + "\n"


def figure(found: Estimate, unit: str) -> str:
    """`176 ms ±4`."""
    if found.value is None:
        return DASH
    told = amount(found.value, unit)
    ends = bounds(found)
    return f"{told} {spread(found.value, ends, unit)}" if ends else told


def bounds(found: Estimate) -> tuple[float, float] | None:
    """The interval of a figure, where it has one that tells anything."""
    if found.low is None or found.high is None or not found.low < found.high < float("inf"):
        return None
    return found.low, found.high


def table(rows: Sequence[Sequence[str]], *, right: int = 0, left: int = 0) -> Iterator[str]:
    """Cells in columns, two spaces apart; after the first column and `left` more, `right` are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if left < column <= left + right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f" {'  '.join(cells)}".rstrip()


def markdown_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The same as a Markdown table: the first row is its head."""
    head, *body = [[escape(cell) for cell in row] for row in rows]
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in body)


def tables(comparison: Comparison) -> Iterator[tuple[str, list[list[str]]]]:
    """The tables that have no intervals, each with its title and a head."""
    yield "Speed and memory", _classic(comparison)
    if comparison.self_hosting:
        yield "Own hardware against hosted models", hosted(comparison.self_hosting)


def _classic(comparison: Comparison) -> list[list[str]]:
    return classic([run.label for run in comparison.runs], comparison.classic)


def _rows(comparison: Comparison) -> list[list[str]]:
    labels = [run.label for run in comparison.runs]
    head = ["", *labels, *(part for label in labels[1:] for part in (f"{label} to A", "", ""))]
    return [head, *([row.term, *_figures(row), *_against(row)] for row in comparison.rows)]


def _parts(rows: list[list[str]], runs: int, width: int) -> Iterator[tuple[list[list[str]], int]]:
    """The table in parts that fit, each with the terms in front: figures first, then each run against A. With each
    part the number of its columns of figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    against = (range(first, first + _CELLS) for first in range(runs + 1, len(widths), _CELLS))
    parts = [[0]]
    for group in (*([column] for column in range(1, runs + 1)), *map(list, against)):
        whole = [*parts[-1], *group]
        if width and len(parts[-1]) > 1 and sum(widths[column] + 2 for column in whole) > width + 1:
            parts.append([0, *group])
        else:
            parts[-1] = whole
    for part in parts:
        yield [[row[column] for column in part] for row in rows], sum(0 < column <= runs for column in part)


def _hung(head: str, told: str, width: int) -> list[str]:
    """A line after `head`, or several of that width, the further ones indented."""
    room = max(width, 40) if width else len(head) + len(told)
    return wrap(head + told, room, subsequent_indent=" " * len(head), break_long_words=False, break_on_hyphens=False)


def _figures(row: Row) -> list[str]:
    return [figure(found, row.unit) for found in row.figures]


def _against(row: Row) -> list[str]:
    return [part for versus in row.versus for part in _versus(versus)]


def _versus(versus: Versus) -> tuple[str, str, str]:
    return change(versus.ratio), MARKS.get(versus.change, ""), f"{versus.effect} effect" if versus.effect else ""


def warnings(comparison: Comparison) -> Iterator[str]:
    """What speaks against taking the comparison as it is."""
    for run in comparison.runs:
        if run.foreign:
            yield f"{run.label} is FOREIGN ({run.foreign}): load, clock and validity are not known; it has no intervals"
        elif run.verdict != "valid":
            yield f"{run.label} is {run.verdict}: harness report {clean(run.source)} says why"
        if run.simulated:
            yield f"{run.label} is SIMULATED: its figures say nothing about a real server"
    if len(comparison.currencies) > 1:
        yield f"costs are in {', '.join(comparison.currencies)}: they do not compare, there are no exchange rates here"
    for label, unlike in _labelled(comparison, comparison.unlike):
        if unlike:
            yield f"A and {label} had DIFFERENT LOADS: {'; '.join(clean(each.told()) for each in unlike[:4])}"


def _labelled(comparison: Comparison, lists: Sequence[list[Difference]]) -> Iterator[tuple[str, list[Difference]]]:
    yield from zip((run.label for run in comparison.runs[1:]), lists, strict=True)


def _text(comparison: Comparison, width: int) -> Iterator[str]:
    yield ""
    for run in comparison.runs:
        yield f" {run.label}  {clean(run.source)}   {clean(run.engine, 40)} · seed {run.seed} · {run.verdict}"
    said = list(warnings(comparison))
    yield from ("", *(line for warning in said for line in _hung(" ! ", warning, width))) if said else ()
    for part, figures in _parts(_rows(comparison), len(comparison.runs), width) if comparison.rows else ():
        yield ""
        yield from table(part, right=figures)
    yield from ("", " Speed and memory")
    yield from table(_classic(comparison), left=2, right=4)
    if comparison.self_hosting:
        yield from ("", " Own hardware against hosted models")
        yield from table(hosted(comparison.self_hosting), left=1, right=5)
    for label, found in _labelled(comparison, comparison.differences):
        yield ""
        yield f" What differs from A to {label}{'' if found else ': nothing that is known'}"
        for difference in found:
            yield from _hung(" · ", clean(difference.told()), width)
    yield ""
    for note in notes(comparison):
        yield from _hung(" ", f"{note}.", width)


def _markdown(comparison: Comparison) -> Iterator[str]:
    yield f"## {' vs '.join(escape(clean(run.name, 64)) for run in comparison.runs)}"
    yield ""
    for run in comparison.runs:
        words = f"{clean(run.source)} · {clean(run.engine, 40)} · seed {run.seed} · {run.verdict}"
        yield f"- **{run.label}** {escape(words)}"
    yield ""
    for warning in warnings(comparison):
        yield from (f"> **! {escape(warning)}**", "")
    if comparison.rows:
        yield from (*markdown_table(_rows(comparison)), "")
    for number, (title, rows) in enumerate(tables(comparison)):
        yield from (*([""] if number else []), f"### {title}", "", *markdown_table(rows))
    for label, found in _labelled(comparison, comparison.differences):
        yield from ("", f"### What differs from A to {label}", "")
        yield from (f"- {escape(clean(difference.told()))}" for difference in found)
        if not found:
            yield "Nothing that is known."
    yield from ("", " ".join(f"{note}." for note in notes(comparison)))


def notes(comparison: Comparison) -> Iterator[str]:
    """What the figures are: a sentence each, without the full stop."""
    if comparison.rows:
        yield from ("± is half the 95 % interval", comparison.method, _EFFECT)
    yield classic_note(comparison.classic)
    if comparison.self_hosting:
        yield HOSTED_NOTE
