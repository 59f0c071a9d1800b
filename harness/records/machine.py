"""What this machine is: facts for the manifest, read from the system, never guessed."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("httptools", "httpx", "msgspec", "numpy", "pydantic", "uvloop")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system. A fact that cannot be read is None."""
    return {
        "system": platform.platform(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "python": platform.python_version(),
        "clocksource": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def packages() -> dict[str, str]:
    """Versions of the libraries that the measured path depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class StealMeter:
    """The share of this machine's CPU time that its host gave to others, from now on."""

    def __init__(self) -> None:
        self._before = _cpu_ticks()

    def share(self) -> float | None:
        """Stolen time by all time since the start; None where the system does not tell."""
        after = _cpu_ticks()
        if self._before is None or after is None or after[1] <= self._before[1]:
            return None
        return (after[0] - self._before[0]) / (after[1] - self._before[1])


def _cpu_ticks() -> tuple[int, int] | None:
    """(stolen, all) CPU ticks of this machine since boot, from /proc/stat; None where there is none."""
    try:
        fields = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return None
    return (fields[7] if len(fields) > 7 else 0), sum(fields[:8])


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _field(path: str, name: str) -> str | None:
    for line in (_line(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _memory() -> int | None:
    field = _field("/proc/meminfo", "MemTotal")
    return int(field.split()[0]) * 1024 if field else None
