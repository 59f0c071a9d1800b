"""Plain clients, as one writes them in an afternoon: httpx and aiohttp on uvloop, a task a stream."""

from __future__ import annotations

from pathlib import Path

from scenario import Scenario
from told import Told, read_stamps

from clients import venvs
from clients.protocol import Command, Failed

_MOST_HTTPX = 1024
_PINS = ("aiohttp==3.14.5", "httpx==0.28.1", "uvloop==0.23.0")


class Plain:
    """`plain_load.py` with one of its two libraries, in a venv of its own."""

    workers_are_load = False
    version = ""

    def __init__(self, library: str) -> None:
        self.name = f"plain {library}"
        self._library = library

    def install(self) -> None:
        self._bin = venvs.ensure("plain", _PINS)
        self.version = venvs.version(self._bin, self._library)

    def plays(self, scenario: Scenario) -> bool:
        """httpx would take minutes for as many streams, and be as far behind as at fewer."""
        return self._library != "httpx" or (scenario.concurrency or 0) <= _MOST_HTTPX

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        how = ["--rate", scenario.rate, "--arrivals", scenario.arrivals] if scenario.rate else []
        closed = ["--concurrency", scenario.concurrency] if scenario.concurrency else []
        what = ["--requests", scenario.requests, "--tokens", scenario.tokens, "--stamps", folder / "stamps.jsonl"]
        script = Path(__file__).with_name("plain_load.py")
        argv = [self._bin / "python", script, self._library, url, *how, *closed, *what]
        return Command(argv=[str(part) for part in argv])

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        try:
            return read_stamps(folder / "stamps.jsonl", scenario.tokens, output)
        except OSError as error:
            raise Failed(output.strip()[-500:] or str(error)) from error
