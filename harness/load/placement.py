"""Where the workers of a run live: beside us, or on the machines of a cluster. What the fleet needs of either.

A placement gives seats; a seat is one worker's process, wherever it runs. Workers are the same everywhere: they read
the same messages, and their records end up in the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from harness.load.messages import FromWorker, WorkerSpec

Hear = Callable[[FromWorker | None], None]  # takes each message of one worker; None: it has ended


class Seat(Protocol):
    """One worker's process."""

    @property
    def pid(self) -> int:
        """Its process, on the machine where it runs."""
        ...

    def brief(self, spec: WorkerSpec) -> None:
        """Tell it what to play, and where its records belong: `spec.records_path`, on our disk."""
        ...

    def start(self, at_ns: int) -> None:
        """Tell it to begin at this instant of our monotonic clock."""
        ...

    def stop(self, *, drain: bool) -> None:
        """Tell it to end early. To a process that is gone this does nothing."""
        ...

    def how_it_ended(self) -> str:
        """For people, once it has ended unasked."""
        ...

    def close(self) -> None:
        """End the process where it still runs, and give back what it took."""
        ...


class Placement(Protocol):
    """A way to run workers."""

    lead_ns: int  # from the word `start` to the start: time for it to reach every worker

    def seat(self, index: int, hear: Hear) -> Seat:
        """A new worker's process; whatever it says goes to `hear`, from any thread."""
        ...

    def synchronise(self) -> None:
        """Before the start: find out how the clocks of the workers' machines differ from ours."""
        ...

    def facts(self) -> dict[str, Any]:
        """For the manifest, after the load: the machines, and how their clocks differ. Empty for this machine alone."""
        ...

    def close(self) -> None:
        """After the last seat was closed."""
        ...
