"""Markdown for pull requests, job summaries and notes; its tables read well as plain text too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from harness.report.analysed import story_of
from harness.report.charts import over_time
from harness.report.figures import amount
from harness.report.markup import escape
from harness.report.story import QUANTITIES, Line, Story
from harness.report.tasks import JOIN_HEAD, KIND_HEAD
from harness.units import sparkline

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_BINS = 24
_SPARKS = (("ttft p50", "ttft_p50", "s"), ("output", "output_tokens_per_s", "tok/s"))


class MarkdownReport:
    """GitHub's flavour; foreign text is escaped, so it neither links, mentions nor runs."""

    name = "md"
    extension = "md"

    def __init__(self, picture: str = "") -> None:
        self._picture = picture

    def illustrated(self, picture: str) -> MarkdownReport:
        """The same with a picture of the run, by its path from the text. Many pages, GitHub's among them, strip a
        drawing that stands in the text itself."""
        return MarkdownReport(picture)

    def render(self, analysis: Analysis) -> str:
        """The whole text."""
        return "\n".join(_tell(story_of(analysis), self._picture, _over_time(analysis))).rstrip() + "\n"


def _over_time(analysis: Analysis) -> Iterator[str]:
    """Sparklines of letters, which every page shows."""
    data = over_time(analysis, _BINS)
    for title, name, unit in _SPARKS if data is not None else ():
        assert data is not None
        values = data["series"][name]
        if drawn := sparkline(values):
            most = max(value for value in values if value is not None)
            yield f"{title} `{drawn}` to {amount(most, unit)}"


def _tell(story: Story, picture: str, sparks: Iterable[str]) -> Iterator[str]:
    verdict = f"{story.verdict.mark} {story.verdict.text}"
    if story.slo_verdict:
        verdict += f" · {story.slo_verdict.mark} {story.slo_verdict.text}"
    yield from (f"## {escape(story.name)}: {verdict}", "")
    for line in story.warnings:
        yield from (f"> **{line.mark} {escape(line.text)}**", "")
    yield "  \n".join(escape(part) for part in (story.target, story.asked, story.requests) if part)
    yield ""
    if picture:
        yield from (f"![{escape(story.name)}: {escape(verdict)}](<{picture}>)", "")
    yield from _rows(story)
    if story.slo:
        yield from (*_list(story.slo), "")
    told = {"Throughput": story.throughput, "Cost": story.cost, "Break-even": story.break_even}
    told |= {"Energy": story.energy, "Wire": story.wire}
    noun, tasks = story.tasks.noun, story.tasks
    told |= {f"A {noun} takes": tasks.takes, "Prefix reuse": tasks.reuse, "session.slowdown": tasks.slowdown}
    told[f"Where a {noun}'s time went"] = " · ".join(f"{name} {share * 100:.0f} %" for name, share in story.time_shares)
    told["Stragglers"] = f"{tasks.stragglers} of that time" if tasks.stragglers else ""
    yield from (f"- **{name}**: {escape(text)}" for name, text in told.items() if text)
    yield from (f"- **Over time**: {text}" for text in [" · ".join(sparks)] if text)
    yield ""
    yield from _table("Joins", JOIN_HEAD, tasks.join_rows)
    yield from _table("Kinds", KIND_HEAD, tasks.kind_rows)
    for title, lines in (("Errors", story.errors), ("What to know", story.findings)):
        if lines:
            yield from (f"### {title}", "", *_list(lines), "")


def _rows(story: Story) -> Iterator[str]:
    if not story.rows:
        return
    yield f"| | n | {' | '.join(QUANTITIES)} |"
    yield f"|---|---:|{'---:|' * len(QUANTITIES)}"
    for row in story.rows:
        cells = (
            f"{told.text} {told.spread or (f'({told.note})' if told.note else '')}".strip()
            for told in (row.figures[quantity] for quantity in QUANTITIES)
        )
        yield f"| {escape(row.key)} | {row.n} | {' | '.join(escape(cell) for cell in cells)} |"
    yield from ("", "± is half the 95 % interval.", "")


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table under a heading; nothing where it has no rows."""
    lines = [f"| {' | '.join(map(escape, row))} |" for row in rows]
    if lines:
        yield from (f"### {title}", "", f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}", *lines, "")


def _list(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        remedy = f" → {escape(line.remedy)}" if line.remedy else ""
        yield f"- {line.mark} {escape(line.text)}{remedy}"
