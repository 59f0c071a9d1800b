"""CPU time and memory, of an engine on this machine and of the machine itself, from Linux' /proc (man 5 proc)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from harness.records.telemetry import Reading
from harness.telemetry.listener import listener
from harness.telemetry.source import Engine, Missing, Settings

PROC = Path("/proc")


class Process:
    """`host_*`: CPU seconds (busy, stolen by the hypervisor, all) and memory in use of the whole machine.
    `engine_*`: CPU seconds, resident memory and number of the engine's processes, its group and all descendants; the
    engine is what we started, else what listens on the target's port of this machine.

    Resident memory counts pages that processes of the group share once for each of them.
    """

    name = "process"

    def __init__(self, settings: Settings, engine: Engine, proc: Path = PROC) -> None:
        self._pid = engine.pid
        self._port = _port(engine.url) if engine.here else None
        self._proc = proc
        self._ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

    def open(self) -> None:
        if not (self._proc / "stat").exists():
            raise Missing(severity=None)
        if self._pid is None and self._port is not None:
            found = listener(self._port, self._proc)
            ours = str(os.getpid())  # what started us holds us, too, and is no engine alone
            if found is not None and not any(fields[0] == ours for fields in _family(found, list(self._stats()))):
                self._pid = found

    def sample(self) -> Reading:
        return Reading(values={**self._host(), **self._engine()})

    def close(self) -> None:
        pass

    def _host(self) -> dict[str, float]:
        fields = (self._proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        user, nice, system, idle, wait, irq, soft, steal = (int(field) / self._ticks for field in fields)
        busy = user + nice + system + irq + soft
        values = {"host_busy_s": busy, "host_steal_s": steal, "host_all_s": busy + idle + wait + steal}
        memory = dict(_fields(self._proc / "meminfo"))
        if "MemTotal" in memory and "MemAvailable" in memory:
            values["host_memory_bytes"] = (memory["MemTotal"] - memory["MemAvailable"]) * 1024
        return values

    def _engine(self) -> dict[str, float]:
        if self._pid is None:
            return {}
        ours = list(_family(self._pid, list(self._stats())))
        if not ours:
            return {}
        return {
            # with the children that each has waited for, so that the sum does not fall when one ends
            "engine_cpu_s": sum(int(ticks) for fields in ours for ticks in fields[11:15]) / self._ticks,
            "engine_rss_bytes": sum(int(fields[21]) for fields in ours) * self._page,
            "engine_processes": len(ours),
        }

    def _stats(self) -> Iterator[list[str]]:
        """Of each process its pid at 0, then the fields behind its state: at k is field k + 3 of the manual."""
        for name in os.listdir(self._proc):
            if not name.isdigit():
                continue
            try:
                text = (self._proc / name / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it ended meanwhile
                continue
            fields = text[text.rindex(")") + 2 :].split()
            yield [name, *fields[1:]]


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _family(pid: int, stats: list[list[str]]) -> Iterator[list[str]]:
    """The process, those in the group or session it leads, and the descendants of all of them."""
    root = str(pid)
    ours = {fields[0] for fields in stats if root in (fields[0], fields[2], fields[3])}
    while more := {fields[0] for fields in stats if fields[1] in ours} - ours:
        ours |= more
    return (fields for fields in stats if fields[0] in ours)


def _fields(path: Path) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            yield name, int(words[0])
