"""What this machine can generate, and how exactly it times: measured by `harness calibrate`, kept for later runs.

Kept in the user's cache, one file a machine, and quoted in each run's manifest.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import msgspec

from harness.records.document import indented
from harness.records.folder import write_whole
from harness.records.machine import machine


def place() -> Path:
    """The file of this machine: named by its processor, cores, system and Python, not by its owner."""
    facts = machine()
    named = [facts["processor"], facts["cores"], facts["memory_bytes"], platform.release(), facts["python"]]
    digest = hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "harness" / f"calibration-{digest}.json"


def read() -> dict[str, Any] | None:
    """The calibration of this machine; None where it was never calibrated, or the file is damaged."""
    try:
        told = msgspec.json.decode(place().read_bytes())
    except (OSError, RuntimeError, msgspec.DecodeError):
        return None
    return told if isinstance(told, dict) else None


def ceiling(told: dict[str, Any] | None) -> float | None:
    """Events a second that one worker's core can take; None where that was never measured."""
    found = ((told or {}).get("ceiling") or {}).get("events_per_cpu_second")
    return float(found) if found else None


def write(told: dict[str, Any]) -> Path:
    """Keep it. Raises ResultsError where the cache cannot be written."""
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, indented(told) + b"\n")
    return path
