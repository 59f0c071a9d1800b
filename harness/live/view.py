"""The live view: shows how the run goes without ever slowing it.

Whoever gathers snapshots calls `update`, which only remembers the newest. A thread of the view's own merges
and draws them, so a slow terminal or a full pipe delays the picture and nothing else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from harness.live.lines import Lines
from harness.live.merge import merge
from harness.live.progress import Goal, Progress
from harness.records.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import Console

    from harness.live.page import LivePage


class _Painter(Protocol):
    interval_s: float

    def open(self) -> None: ...
    def paint(self, progress: Progress, *, last: bool = False) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


class LiveView:
    """A context manager. A dashboard on a terminal, plain lines elsewhere, nothing where `quiet`; and a `page`, if any.

    Everything goes to standard error, unless another `console` is given.
    """

    def __init__(
        self, goal: Goal, *, quiet: bool = False, console: Console | None = None, page: LivePage | None = None
    ) -> None:
        self._progress = Progress(goal)
        self._newest: tuple[tuple[Snapshot, ...], int, Mapping[str, float]] | None = None
        self._painters: list[_Painter] = [] if quiet else [_painter(console)]
        self._painters += [page] if page is not None else []
        self._stop = threading.Event()
        self._drawing = threading.RLock()  # `say` may be called by a signal handler in the middle of itself
        self._thread = threading.Thread(target=self._loop, name="live-view", daemon=True)

    def update(self, snapshots: Sequence[Snapshot], t_ns: int, engine: Mapping[str, float] | None = None) -> None:
        """The latest snapshot of each worker, at `t_ns` on the run's axis, and what the engine's own page says.

        Returns at once; what was not drawn yet is dropped. May be called from any thread.
        """
        self._newest = (tuple(snapshots), t_ns, engine or {})

    def say(self, text: str) -> None:
        """One line for the person who watches, such as what a first Ctrl-C does."""
        self._each(lambda painter: painter.say(text))

    def __enter__(self) -> Self:
        if self._painters:
            for painter in self._painters:
                painter.open()
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._painters:
            self._stop.set()
            self._thread.join()
            self._paint(last=True)
            self._each(lambda painter: painter.close())

    def _loop(self) -> None:
        while not self._stop.wait(min(painter.interval_s for painter in self._painters)):
            self._paint()

    def _paint(self, *, last: bool = False) -> None:
        """Draw the newest state."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._progress.add(merge(newest[0]), *newest[1:])
        if newest is not None or last:
            self._each(lambda painter: painter.paint(self._progress, last=last))

    def _each(self, do: Callable[[_Painter], None]) -> None:
        """A closed terminal or pipe is no reason to fail a run, nor to show it nowhere else."""
        with self._drawing:
            for painter in self._painters:
                with contextlib.suppress(OSError, ValueError):
                    do(painter)


def _painter(console: Console | None) -> _Painter:
    """rich is imported only where there is a terminal to draw on."""
    if console is None and not sys.stderr.isatty():
        return Lines(sys.stderr)
    from rich.console import Console

    from harness.live.dashboard import Dashboard

    console = console or Console(stderr=True, highlight=False)
    return Dashboard(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console.file)  # type: ignore[arg-type]
