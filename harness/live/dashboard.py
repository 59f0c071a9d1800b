"""The dashboard of a terminal: eight lines, redrawn in place. Three colours, each with a word or symbol."""

from __future__ import annotations

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from harness.live import told
from harness.live.progress import Metric, Progress
from harness.units import NS_PER_S, format_duration, format_number, format_share

_BAR = 56
_LIMIT = re.compile(r"^(ttft|tpot|e2e)\.p(\d+(?:\.\d+)?)$")


class Picture:
    """A renderable of one moment of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in draw(self._progress, options.max_width):
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


def draw(progress: Progress, width: int = 100) -> list[Text]:
    """The lines of the dashboard."""
    now = progress.latest
    fine, client = told.client(now.health)
    lines = [_head(progress, min(width, 100)), _bar(progress, min(_BAR, width - 30))]
    if progress.goal.simulated:
        lines.append(Text(" ! SIMULATED TARGET", "yellow"))
    counts = Text(f" live {told.whole(now.live_sessions)} sessions · {told.whole(now.live_requests)} requests     ")
    counts.append(f"done {told.whole(now.sessions_done)} sessions · {told.whole(now.requests_ok)} requests     ")
    failed = f"failed {told.errors(now)}"
    counts.append(f"✗ {failed}" if now.requests_failed else failed, "red" if now.requests_failed else "")
    lines += [
        counts,
        Text(f" {'':8}{'now':>9}{'p50':>9}{'p95':>9}" + ("      slo" if progress.goal.limits else "")),
    ]
    metrics: list[Metric] = ["ttft", "tpot"]
    if any(name.startswith("e2e.") for name in progress.goal.limits):
        metrics.append("e2e")
    lines += [_metric(progress, metric) for metric in metrics]
    rate = progress.tokens_per_s
    lines.append(Text(f" {'out':8}{format_number(rate)} tok/s {told.sparkline(progress.spark)}"))
    lines.append(Text(f" {'client':8}{'' if fine else '! '}{client}", "" if fine else "yellow"))
    return lines


def _head(progress: Progress, width: int) -> Text:
    goal = progress.goal
    time = told.clock(progress.t_ns)
    if goal.duration_s:
        time += f" / {told.clock(goal.duration_s * NS_PER_S)}"
    left = f" {told.plain(goal.name, 40)}   {told.plain(goal.target, 80)}"
    room = max(8, width - len(time) - 1)
    left = left if len(left) < room else left[: room - 2] + "…"
    head = Text(left.ljust(room) + time)
    head.stylize("bold", 0, 1 + len(goal.name))
    return head


def _bar(progress: Progress, width: int) -> Text:
    share = progress.share
    phase = told.plain(progress.latest.phase)
    if share is None:
        return Text(f" {phase}")
    filled = round(share * max(8, width))
    bar = "█" * filled + "░" * (max(8, width) - filled)
    return Text(f" {bar}  {phase} · {format_share(share, 2 if share < 1 else 3)}")


def _metric(progress: Progress, metric: Metric) -> Text:
    whole = getattr(progress.latest, metric)
    told_now = progress.now(metric).quantile(0.5)
    figures = (told_now, whole.quantile(0.5), whole.quantile(0.95))
    line = Text(f" {metric:8}" + "".join(f"{format_duration(value, 3):>9}" for value in figures))
    for name, limit in progress.goal.limits.items():
        match = _LIMIT.match(name)
        if match and match[1] == metric:
            value = whole.quantile(float(match[2]) / 100)
            held = value is not None and value < limit
            word = "–" if value is None else "ok" if held else "over"
            style = "" if value is None else "green" if held else "red"
            line.append(f"      p{match[2]} < {format_duration(limit)}  {word}", style)
    return line
