"""Plain progress lines for logs and CI: one every ten seconds, no escape codes."""

from __future__ import annotations

from typing import TextIO

from harness.live import told
from harness.live.progress import Progress
from harness.units import NS_PER_S, format_duration, format_number, format_share

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
    """`00:40 measure 68 % · live 32 · done 118 · failed 0 · ttft p50 176 ms p95 402 ms · ...`."""
    now = progress.latest
    share = progress.share
    parts = [
        f"{told.clock(progress.t_ns)} {told.plain(now.phase)}" + (f" {format_share(share, 2)}" if share else ""),
        f"live {told.whole(now.live_sessions)} sessions",
        f"done {told.whole(now.sessions_done)}",
        f"failed {told.errors(now)}",
    ]
    for metric in ("ttft", "tpot"):
        histogram = getattr(now, metric)
        if histogram.total():
            low, high = (format_duration(histogram.quantile(q)) for q in (0.5, 0.95))
            parts.append(f"{metric} p50 {low} p95 {high}")
    if progress.tokens_per_s is not None:
        parts.append(f"{format_number(progress.tokens_per_s)} tok/s")
    fine, client = told.client(now.health)
    return " · ".join(parts if fine else [*parts, f"client {client}"])
