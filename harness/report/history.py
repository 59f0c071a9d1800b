"""Past runs, for people: plain text, Markdown, and CSV with every figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from harness.judge.change_points import LEAST
from harness.judge.history import History, Past, Series, Turn
from harness.judge.term import term
from harness.report.comparison import figure, markdown_table, percent, table
from harness.report.figures import DASH, amount, clean, count
from harness.report.markup import escape
from harness.report.measures import NAMES
from harness.report.series import ABOUT, row

_BLOCKS = "▁▂▃▄▅▆▇█"
_MARKS = {"valid": "✓", "suspect": "!", "invalid": "✗"}


def text(history: History, last: int) -> str:
    """Plain text. Tables show the `last` runs of a series; trends and changes are of all."""
    lines = ["", f" {_head(history)}"]
    for series in history.series:
        lines += ["", f" {_title(series)}", *table(_rows(history, series, last), right=1 + len(history.terms))]
        lines += [f" {mark} {line}" for mark, line in _below(history, series, last)]
    return "\n".join([*lines, *(f" ! {clean(line)}" for line in _unread(history))]) + "\n"


def markdown(history: History, last: int) -> str:
    """GitHub's flavour."""
    lines = [f"## {escape(_head(history))}", ""]
    for series in history.series:
        lines += [f"### {escape(_title(series))}", "", *markdown_table(_rows(history, series, last)), ""]
        lines += [*(f"- {mark} {escape(line)}" for mark, line in _below(history, series, last)), ""]
    return "\n".join([*lines, *(f"- ! {escape(clean(line))}" for line in _unread(history))]).rstrip() + "\n"


def rows_csv(history: History, names: Sequence[str] | None = None) -> str:
    """One row a run, oldest first, with all figures that trackers get or with those named: what Otava reads."""
    names = NAMES if names is None else names
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*ABOUT, *names])
    runs = sorted((run for series in history.series for run in series.runs), key=lambda run: run.summary.run.started_at)
    writer.writerows(row(run.summary, names) for run in runs)
    return out.getvalue()


def _head(history: History) -> str:
    shown = sum(len(series.runs) for series in history.series)
    told = f"{clean(history.folder)}: {count(shown, 'run')} in {len(history.series)} series"
    left = history.invalid - sum(
        run.summary.validity.verdict == "invalid" for series in history.series for run in series.runs
    )
    return f"{told} · {left} invalid left out (--all shows them)" if left else told


def _title(series: Series) -> str:
    summary = series.runs[-1].summary
    target = summary.target
    return " · ".join(
        clean(part, 64)
        for part in (summary.run.name, target.engine or target.backend, target.model, *series.apart)
        if part
    )


def _rows(history: History, series: Series, last: int) -> list[list[str]]:
    units = {name: term(name).unit for name in history.terms}
    body = [
        [
            f"{_MARKS[run.summary.validity.verdict]} {_day(run.summary.run.started_at)}",
            clean(run.summary.target.engine_version or DASH, 24),
            *(figure(run.figures[name], _unit(run, units[name])) for name in history.terms),
            clean(run.summary.run.id.rpartition("-")[2], 8),
        ]
        for run in series.runs[-last:]
    ]
    trends = [trend([run.figures[name].value for run in series.runs][-24:]) for name in history.terms]
    return [["started", "version", *history.terms, "run"], *body, ["trend", "", *trends, ""]]


def _unit(run: Past, unit: str) -> str:
    if unit != "money":
        return unit
    return run.summary.cost.currency if run.summary.cost is not None else ""


def trend(values: Sequence[float | None]) -> str:
    """One block a run, from the smallest to the largest; a gap where the figure is not known."""
    known = [value for value in values if value is not None]
    if len(known) < 2 or min(known) == max(known):
        return DASH
    low, span = min(known), max(known) - min(known)
    return "".join(
        " " if value is None else _BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values
    )


def _below(history: History, series: Series, last: int) -> Iterator[tuple[str, str]]:
    if len(series.runs) > last:
        yield "·", f"{len(series.runs) - last} earlier runs are not shown (--last)"
    for turn in series.turns:
        yield "!", _turned(turn)
    if len(series.runs) < 2 * LEAST:
        yield "·", f"no change can be told of fewer than {2 * LEAST} runs"
    elif not series.turns:
        yield "·", f"no change of {', '.join(history.terms)} found"


def _turned(turn: Turn) -> str:
    change, unit = turn.change, term(turn.term).unit
    share = f" {percent(change.after / change.before)} %" if change.before > 0 else ""
    levels = f"{amount(change.before, unit)} → {amount(change.after, unit)}"
    sure = "p < 0.0001" if change.p < 0.0001 else f"p {change.p:.4f}"
    return f"{turn.term}{share} since {_day(turn.started_at)} ({clean(turn.run)}): {levels}, {sure}"


def _day(started_at: str) -> str:
    """`2026-11-21 08:34`, UTC."""
    return clean(started_at[:16].replace("T", " ")) or DASH


def _unread(history: History) -> list[str]:
    return [f"not read: {line}" for line in history.unread]
