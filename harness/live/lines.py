"""Plain progress lines for logs and CI: one every ten seconds, no escape codes."""

from __future__ import annotations

from typing import TextIO

from harness.live import told
from harness.live.moment import DASH, moment
from harness.live.progress import Progress
from harness.units import NS_PER_S, format_share

EVERY_NS = 10 * NS_PER_S


class Lines:
    """Writes a line each ten seconds of the run, and one at the end."""

    interval_s = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._due_ns = EVERY_NS
        self._told_ns = -1

    def open(self) -> None:
        """Nothing to prepare."""

    def paint(self, progress: Progress, *, last: bool = False) -> None:
        due = progress.t_ns >= self._due_ns
        if not due and not (last and progress.t_ns > self._told_ns):
            return
        self._due_ns = (progress.t_ns // EVERY_NS + 1) * EVERY_NS
        self._told_ns = progress.t_ns
        self._write(line(progress))

    def say(self, text: str) -> None:
        self._write(told.plain(text, 200))

    def close(self) -> None:
        """Nothing to undo."""

    def _write(self, text: str) -> None:
        self._stream.write(f"harness: {text}\n")
        self._stream.flush()


def line(progress: Progress) -> str:
    """`00:40 / 01:00 measure 68 % · live 32 sessions · done 118 · failed 0 · ttft p50 176 ms p95 402 ms · ...`."""
    now = moment(progress)
    share = f" {format_share(now.share, 2)}" if now.share else ""
    parts = [
        f"{now.clock} {now.phase}{share}",
        f"live {now.live[0]}",
        f"done {now.done[0]}",
        f"failed {now.failed}",
    ]
    known = [(row.metric, {"p50": row.p50, "p95": row.p95}) for row in now.rows]
    for metric, figures in known:
        told_here = " ".join(f"{name} {figure}" for name, figure in figures.items() if figure != DASH)
        parts += [f"{metric} {told_here}"] if told_here else []
    over = [limit for limit in now.limits if limit.word == "over"]
    parts += [f"over: {limit.metric} {limit.text}" for limit in over]
    parts.append(" ".join(now.rates))
    if now.engine:
        parts.append(f"engine {', '.join(now.engine)}")
    return " · ".join([*parts, f"client {', '.join(now.client)}"] if now.strained else parts)
