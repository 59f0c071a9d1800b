"""The live view: shows how the run goes without ever slowing it.

Whoever gathers snapshots calls `update`, which only remembers the newest. A thread of the view's own merges
and draws them, so a slow terminal or a full pipe delays the picture and nothing else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

from harness.live.lines import Lines
from harness.live.merge import merge
from harness.live.progress import Goal, Progress
from harness.records.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import Console


class _Painter(Protocol):
    interval_s: float

    def open(self) -> None: ...
    def paint(self, progress: Progress, *, last: bool = False) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


class LiveView:
    """A context manager. A dashboard on a terminal, plain lines elsewhere, nothing where `quiet`.

    Everything goes to standard error, unless another `console` is given.
    """

    def __init__(self, goal: Goal, *, quiet: bool = False, console: Console | None = None) -> None:
        self._progress = Progress(goal)
        self._newest: tuple[tuple[Snapshot, ...], int] | None = None
        self._painter = None if quiet else _painter(console)
        self._stop = threading.Event()
        self._drawing = threading.RLock()  # `say` may be called by a signal handler in the middle of itself
        self._thread = threading.Thread(target=self._loop, name="live-view", daemon=True)

    def update(self, snapshots: Sequence[Snapshot], t_ns: int) -> None:
        """The latest snapshot of each worker, at `t_ns` on the run's axis.

        Returns at once; what was not drawn yet is dropped. May be called from any thread.
        """
        self._newest = (tuple(snapshots), t_ns)

    def say(self, text: str) -> None:
        """One line for the person who watches, such as what a first Ctrl-C does."""
        if self._painter is not None:
            with self._drawing, contextlib.suppress(OSError, ValueError):
                self._painter.say(text)

    def __enter__(self) -> Self:
        if self._painter is not None:
            self._painter.open()
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._painter is None:
            return
        self._stop.set()
        self._thread.join()
        self._paint(last=True)
        with contextlib.suppress(OSError, ValueError):
            self._painter.close()

    def _loop(self) -> None:
        assert self._painter is not None
        while not self._stop.wait(self._painter.interval_s):
            self._paint()

    def _paint(self, *, last: bool = False) -> None:
        """Draw the newest state. A closed terminal or pipe is no reason to fail a run."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._progress.add(merge(newest[0]), newest[1])
        if self._painter is not None and (newest is not None or last):
            with self._drawing, contextlib.suppress(OSError, ValueError):
                self._painter.paint(self._progress, last=last)


def _painter(console: Console | None) -> _Painter:
    """rich is imported only where there is a terminal to draw on."""
    if console is None and not sys.stderr.isatty():
        return Lines(sys.stderr)
    from rich.console import Console

    from harness.live.dashboard import Dashboard

    console = console or Console(stderr=True, highlight=False)
    return Dashboard(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console.file)  # type: ignore[arg-type]
