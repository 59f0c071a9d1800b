"""What the benchmark asks of a client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scenario import Scenario
from told import Told


class NotInstalled(Exception):
    """This client cannot be had here. The message says why."""


class Failed(Exception):
    """It ran, but left no result that can be read. The message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. `codes` are the exit codes that still mean a finished run."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    codes: frozenset[int] = frozenset({0})


class Client(Protocol):
    """One load generator.

    `workers_are_load` says that its child processes do nothing but generate load, so that all they do to their end
    (reading the last answers, writing records) belongs to the load phase.
    """

    name: str
    version: str
    workers_are_load: bool

    def install(self) -> None:
        """Make it ready, once. Sets `version`.

        Raises:
            NotInstalled: it cannot be had here.
        """
        ...

    def plays(self, scenario: Scenario) -> bool:
        """It can make such a load."""
        ...

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        """`url` is the server's, without a path; `folder` is empty and its own."""
        ...

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        """What it measured.

        Raises:
            Failed: there is nothing to read.
        """
        ...
