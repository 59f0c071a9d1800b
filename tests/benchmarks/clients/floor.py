"""The floor: `floor.c`, with the program's clock or the kernel's."""

from __future__ import annotations

from pathlib import Path

from binaries import Unbuildable, build
from scenario import Scenario
from told import Told, read_stamps

from clients.protocol import Command, Failed, NotInstalled


class Floor:
    """A C program that stamps events and does nothing else."""

    workers_are_load = False
    version = ""

    def __init__(self, clock: str) -> None:
        self.name = "C floor" if clock == "user" else "C floor, kernel clock"
        self._clock = clock

    def install(self) -> None:
        try:
            build("floor")
        except Unbuildable as error:
            raise NotInstalled(str(error)) from error

    def plays(self, scenario: Scenario) -> bool:
        return scenario.rate is None or scenario.arrivals == "constant"

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        how = ["--rate", scenario.rate] if scenario.rate else ["--concurrency", scenario.concurrency]
        what = ["--requests", scenario.requests, "--tokens", scenario.tokens, "--clock", self._clock]
        argv = [build("floor"), "--port", url.rpartition(":")[2], *how, *what, "--stamps", folder / "stamps.jsonl"]
        return Command(argv=[str(part) for part in argv])

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        try:
            return read_stamps(folder / "stamps.jsonl", scenario.tokens, output)
        except OSError as error:
            raise Failed(output.strip() or str(error)) from error
