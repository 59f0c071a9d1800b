"""The summary at the end of a run, on one screen: at most 30 lines of 100 columns, verdict first.

Text is laid out as spans with a tone each; plain text and coloured text are the same characters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from harness.report.analysed import story_of
from harness.report.story import QUANTITIES, Line, Row, Story, Tone

if TYPE_CHECKING:
    from rich.console import Console

    from harness.metrics.analysis import Analysis

WIDTH = 100
HEIGHT = 30

_MOST_JOINS, _MOST_KINDS = 2, 4  # lines; all of them stand in Markdown and HTML
_GIVE_WAY = (
    "slowdown",
    "joins",
    "kinds",
    "prefix reuse",
    "break-even",
)  # to the gravest finding, in this order
_COLUMNS = (18, 16, 16)  # metric, p50, p95; the last column takes the rest
_STYLES: dict[Tone, str] = {"good": "green", "warn": "yellow", "bad": "red", "plain": ""}

Span = tuple[str, Tone]
Spans = list[Span]


class TerminalReport:
    """What a person reads first."""

    name = "terminal"
    extension = "txt"

    def render(self, analysis: Analysis) -> str:
        """Plain text, without any escape code."""
        return "".join("".join(text for text, _ in spans).rstrip() + "\n" for spans in lay_out(story_of(analysis)))

    def show(self, analysis: Analysis, console: Console | None = None) -> None:
        """The same on a console: coloured on a terminal, unless NO_COLOR is set. Default: standard output."""
        from rich.console import Console
        from rich.text import Text

        console = console or Console(file=sys.stdout, highlight=False)
        for spans in lay_out(story_of(analysis)):
            line = Text()
            for text, tone in spans:
                line.append(text, _STYLES[tone])
            line.rstrip()
            console.print(line, soft_wrap=True, highlight=False)


def lay_out(story: Story) -> list[Spans]:
    """The lines of the summary. Findings give way where the screen is too short, but never the gravest: without it a
    verdict would stand there without its reason."""
    commands = [story.open_report, *story.next_commands]
    tail: list[Spans] = [[(f" → {command}", "plain")] for command in commands if command]
    top = [*_verdict(story), [], *_what(story), *_table(story.rows)]
    head, room = top, 0
    for given_way in range(len(_GIVE_WAY) + 1):
        head = [*top, *_figures(story, _GIVE_WAY[:given_way])]
        room = HEIGHT - len(head) - len(tail) - 1
        if room >= _least(story):
            break
    return [*head, *_notes(story, room), *([[]] if tail else []), *tail]


def _marked(line: Line) -> Span:
    return _cut(f"{line.mark} {line.text}", WIDTH - 1), line.tone


def _verdict(story: Story) -> list[Spans]:
    first: Spans = [(" ", "plain"), _marked(story.verdict)]
    if story.slo_verdict:
        first += [(" · ", "plain"), _marked(story.slo_verdict)]
    used = sum(len(text) for text, _ in first)
    first.append((story.name.rjust(max(WIDTH - used, len(story.name) + 3)), "plain"))
    missed = [line for line in story.slo if line.code != "pass"][:4]
    return [first, *([(" ", "plain"), _marked(line)] for line in [*story.warnings, *missed])]


def _what(story: Story) -> list[Spans]:
    lines = [part for part in (story.target, story.asked) if part]
    lines += wrap(story.requests, WIDTH - 1)
    return [[(f" {_cut(line, WIDTH - 1)}", "plain")] for line in lines]


def _table(rows: list[Row]) -> list[Spans]:
    if not rows:
        return []
    name, *widths = _COLUMNS
    head = "".join(quantity.ljust(width) for quantity, width in zip(QUANTITIES, (*widths, 0), strict=True))
    lines: list[Spans] = [[(f" {'':{name}}{head}", "plain")]]
    for row in rows:
        cells = []
        for quantity, width in zip(QUANTITIES, (*widths, 0), strict=True):
            told = row.figures[quantity]
            cells.append(f"{told.text} {told.spread}".ljust(width))
        lines.append([(f" {row.key:{name}}{''.join(cells).rstrip()}{_missing(row)}", "plain")])
    return lines


def _missing(row: Row) -> str:
    """Why figures of a row are not told: `(p95 needs 59, p99 needs 299, have 12)`."""
    notes = {quantity: told.note for quantity, told in row.figures.items() if told.note}
    if not notes:
        return ""
    if len(notes) == 1:
        return f"  ({next(iter(notes.values()))})"
    needs = [f"{quantity} {note.partition(',')[0]}" for quantity, note in notes.items()]
    return f"  ({', '.join(needs)}, have {row.n})"


def _figures(story: Story, left_out: Sequence[str] = ()) -> list[Spans]:
    tasks = story.tasks
    lines: list[Spans] = [[(text, "plain")] for text in _time(story)]
    told = [(f"a {tasks.noun} takes", tasks.takes), ("prefix reuse", tasks.reuse)]
    if "joins" not in left_out:
        told += [("joins" if not number else "", text) for number, text in enumerate(tasks.joins[:_MOST_JOINS])]
    if "kinds" not in left_out:
        told += tasks.kinds[:_MOST_KINDS]
    if tasks.noun == "task":
        told.append(("slowdown", tasks.slowdown))
    told += [("throughput", story.throughput), ("cost", story.cost), ("break-even", story.break_even)]
    told.append(("energy", story.energy))
    for name, text in told:
        if name in left_out:
            continue
        if text:
            lines += [[(part, "plain")] for part in _hang(f" {_cut(name, 15):<15} ", text)]
    return lines


def _time(story: Story) -> list[str]:
    """Where the time of the sessions went: two lines where one is too narrow."""
    if not story.time_shares:
        return []
    most = max(share for _, share in story.time_shares) or 1.0
    bars = [
        f"{name} {share:.0%}".replace("%", " %") + f" {'▇' * round(share / most * 8)}"
        for name, share in story.time_shares
    ]
    behind = f"(stragglers {story.tasks.stragglers})" if story.tasks.stragglers else ""
    head, told = f" where a {story.tasks.noun}'s time went", "  ".join(bar.rstrip() for bar in bars)
    together = f"{told}  {behind}".rstrip()
    if len(head) + 2 + len(together) <= WIDTH:
        return [f"{head}  {together}"]
    if 3 + len(together) <= WIDTH:
        return [head, f"   {together}"]
    return [f"{head}  {behind}", _cut(f"   {told}", WIDTH)]


def _blocks(story: Story) -> list[Spans]:
    """Errors and findings, the gravest first, each as its lines."""
    blocks = [[(text, line.tone) for text in _error(line)] for line in story.errors[:6]]
    return blocks + [[(text, line.tone) for text in _finding(line)] for line in story.findings]


def _least(story: Story) -> int:
    """Lines of the gravest finding, with its head and the line that counts the others; 0 where none is grave."""
    blocks = _blocks(story)
    if not blocks or blocks[0][0][1] == "plain":
        return 0
    return 2 + len(blocks[0]) + (len(blocks) > 1)


def _notes(story: Story, room: int) -> list[Spans]:
    """Errors and findings in at most `room` lines."""
    blocks = _blocks(story)
    if not blocks:
        return []
    lines: list[Spans] = [[], [(" What to know", "plain")]]
    left = len(blocks)
    for block in blocks:
        if len(lines) + len(block) + (left > 1) > room:
            break
        lines += [[span] for span in block]
        left -= 1
    if left:
        lines.append([(f" · {left} more in the HTML report", "plain")])
    return lines


def _error(line: Line) -> Iterable[str]:
    yield f" {line.mark} {line.text}"
    if line.remedy:
        yield _cut(f"   e.g. {line.remedy}", WIDTH)


def _finding(line: Line) -> Iterable[str]:
    yield from _hang(f" {line.mark} ", line.text, most=2)
    if line.remedy and line.tone != "plain":
        yield from _hang("   → ", line.remedy, most=2)


def _hang(head: str, text: str, most: int = 3) -> list[str]:
    """`text` after `head`, its further lines indented under the first."""
    lines = wrap(text, WIDTH - len(head), break_on_hyphens=False) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], _cut(" ".join(lines[most - 1 :]), WIDTH - len(head))]
    return [(head if number == 0 else " " * len(head)) + line for number, line in enumerate(lines)]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
