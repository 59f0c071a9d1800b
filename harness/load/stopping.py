"""What Ctrl-C and a request to terminate do to a fleet while it plays."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.load.fleet import Fleet


@contextmanager
def stoppable(fleet: Fleet, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C drains, a second one stops at once, as SIGTERM does. `say` tells the person who pressed it."""

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        fleet.stop()
        say("stopping: answers under way may end; Ctrl-C again stops now")

    def ended(_signal: int, _frame: FrameType | None) -> None:
        fleet.stop()
        fleet.stop()

    previous = signal.signal(signal.SIGINT, interrupted), signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous[0])
        signal.signal(signal.SIGTERM, previous[1])
