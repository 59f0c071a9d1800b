"""The dashboard of a terminal: about ten lines, redrawn in place. Three colours, each with a word or symbol."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from harness.live import told
from harness.live.moment import Limit, Moment, moment
from harness.live.progress import Progress
from harness.units import format_share, sparkline

_BAR = 56
_SPARK = 20


class Picture:
    """A renderable of one moment of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in draw(moment(self._progress), options.max_width):
            line.truncate(options.max_width, overflow="ellipsis")
            yield line


class Dashboard:
    """Draws progress on a terminal until closed, then takes the picture away: the summary follows."""

    interval_s = 0.25

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def open(self) -> None:
        self._live.start()

    def paint(self, progress: Progress, *, last: bool = False) -> None:
        self._live.update(Picture(progress), refresh=True)

    def say(self, text: str) -> None:
        """A line that stays, above the picture."""
        self._console.print(Text(f" ! {told.plain(text, 200)}", "yellow"))

    def close(self) -> None:
        self._live.stop()


def draw(now: Moment, width: int = 100) -> list[Text]:
    """The lines of the dashboard. What does not fit beside its neighbour goes under it."""
    lines = [_head(now, min(width, 100)), _bar(now, width)]
    if now.simulated:
        lines.append(Text(" ! SIMULATED TARGET", "yellow"))
    lines += _flow("", _counts(now), width, between=" " * 4)
    quantiles = any(limit.metric != "error_rate" for limit in now.limits)
    lines.append(Text(f" {'':8}{'now':>9}{'p50':>9}{'p95':>9}" + ("    slo" if quantiles else "")))
    for row in now.rows:
        figures = "".join(f"{figure:>9}" for figure in (row.now, row.p50, row.p95))
        held = [_limit(limit, limit.text) for limit in now.limits if limit.metric == row.metric]
        lines += _flow(f"{row.metric:8}{figures}    ", held, width, between=" " * 4)
    lines.append(Text(f" {'out':8}{' · '.join(now.rates)}  {sparkline(now.spark[-_SPARK:])}"))
    if now.engine:
        lines += _flow(f"{'engine':8}", [Text(part) for part in now.engine], width)
    client = [Text(f"! {part}" if now.strained and not place else part) for place, part in enumerate(now.client)]
    lines += _flow(f"{'client':8}", client, width, style="yellow" if now.strained else "")
    if now.later:
        lines.append(Text(f" {'slo':8}at the end: {now.later}"))
    return lines


def _counts(now: Moment) -> list[Text]:
    failed = Text(f"{'✗ ' if now.failing else ''}failed {now.failed}", "red" if now.failing else "")
    rates = [_limit(limit, f"error rate {limit.text}") for limit in now.limits if limit.metric == "error_rate"]
    return [Text(f"live {' · '.join(now.live)}"), Text(f"done {' · '.join(now.done)}"), failed, *rates]


def _flow(head: str, parts: Sequence[Text], width: int, *, between: str = " · ", style: str = "") -> list[Text]:
    """`head` and as many parts as fit on a line; the others under the first of them."""
    lines = [Text(f" {head}", style)]
    for number, part in enumerate(parts):
        glue = between if number else ""
        if number and lines[-1].cell_len + len(glue) + part.cell_len > width:
            lines.append(Text(" " * (1 + len(head)), style))
            glue = ""
        lines[-1].append(glue).append_text(part)
    return lines


def _limit(limit: Limit, text: str) -> Text:
    return Text(f"{text}  {limit.word}", {"ok": "green", "over": "red"}.get(limit.word, ""))


def _head(now: Moment, width: int) -> Text:
    left = f" {now.name}   {now.target}"
    room = max(8, width - len(now.clock) - 1)
    left = left if len(left) < room else left[: room - 2] + "…"
    head = Text(left.ljust(room) + now.clock)
    head.stylize("bold", 0, 1 + len(now.name))
    return head


def _bar(now: Moment, width: int) -> Text:
    if now.share is None:
        return Text(f" {now.phase}")
    words = [now.phase, format_share(now.share, 2 if now.share < 1 else 3), now.left]
    after = f"  {' · '.join(word for word in words if word)}"
    cells = max(8, min(_BAR, width - len(after) - 1))
    filled = round(now.share * cells)
    return Text(f" {'█' * filled}{'░' * (cells - filled)}{after}")
