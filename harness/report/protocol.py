"""A way of telling: a name, a file extension, and a function from an analysed run to text or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

GROUP = "harness.reports"


class Report(Protocol):
    """One file a format, registered as an entry point of `harness.reports`.

    `render` tells the figures of `analysis.summary` and whatever lies under them, and never fails on a run that
    is empty, failed or interrupted.
    """

    name: str
    extension: str

    def render(self, analysis: Analysis) -> str | bytes:
        """The whole report."""
        ...


@runtime_checkable
class PushedReport(Report, Protocol):
    """A report whose place is a service: written to a URL it is pushed, written to standard output it is shown."""

    def push(self, analysis: Analysis, url: str) -> None:
        """Send it. Raises ResultsError where the service cannot be reached or refuses it."""
        ...
