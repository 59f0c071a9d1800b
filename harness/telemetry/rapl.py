"""Energy counters of Intel and AMD processors, from Linux' powercap folder.

Format: docs.kernel.org/power/powercap/powercap.html. A package holds its cores and its uncore part, so those are left
out; memory (dram) is beside it, and `psys`, the whole platform, would count everything twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from harness.records.telemetry import Device, Reading
from harness.telemetry.source import Engine, Missing, Settings

FOLDER = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")


class Rapl:
    """One device for each package and each bank of memory that has a counter of its own."""

    name = "rapl"

    def __init__(self, settings: Settings, engine: Engine, folder: Path = FOLDER) -> None:
        self._asked = settings.cpu
        self._here = engine.here
        self._folder = folder
        self._zones: dict[str, tuple[Path, float | None]] = {}

    def open(self) -> None:
        if self._asked is False or (self._asked == "auto" and not self._here):
            raise Missing(severity=None)
        severity: Literal["info", "warning"] = "info" if self._asked == "auto" else "warning"
        zones = dict(_zones(self._folder))
        if not zones:
            raise Missing(
                f"the processor's energy is unknown: {self._folder} has no intel-rapl package",
                remedy="virtual machines hide it; use a meter (telemetry.power_command), or telemetry.cpu: false",
                severity=severity,
            )
        for path, _ in zones.values():
            try:
                (path / "energy_uj").read_text(encoding="ascii")
            except OSError as error:
                raise Missing(
                    f"the processor's energy cannot be read: {path / 'energy_uj'}: {error.strerror}",
                    remedy=f"sudo chmod a+r {self._folder}/intel-rapl:*/energy_uj",
                ) from error
        self._zones = zones

    def sample(self) -> Reading:
        return Reading(
            devices={
                key: Device(kind="cpu", name=key, joules=_number(path / "energy_uj") / 1e6, wrap_j=wrap)
                for key, (path, wrap) in self._zones.items()
            }
        )

    def close(self) -> None:
        pass


def _zones(folder: Path) -> list[tuple[str, tuple[Path, float | None]]]:
    """(name, (folder of the zone, joules at which its counter starts again)) of packages and their memory."""
    found = []
    for path in sorted(folder.glob("intel-rapl:*")):
        match = _ZONE.fullmatch(path.name)
        name = _name(path)
        if match is None or not (name.startswith("package") if match[1] is None else name == "dram"):
            continue
        if match[1] is not None:
            name = f"{_name(folder / path.name.rpartition(':')[0])}/{name}"
        try:
            wrap: float | None = _number(path / "max_energy_range_uj") / 1e6
        except (OSError, ValueError):
            wrap = None
        found.append((name, (path, wrap)))
    return found


def _name(path: Path) -> str:
    try:
        return (path / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
