"""Where a study's result lies. Light, so that who looks whether there is one need not load the studies."""

from __future__ import annotations

from pathlib import Path

AB = "ab.json"
CAPACITY = "capacity.json"
SWEEP = "sweep.json"


def study_file(place: Path) -> Path | None:
    """The file with a study's result, named by its folder or by any file in it; None where there is none."""
    if not place.exists():
        return None
    folder = place if place.is_dir() else place.parent
    return next((path for name in (AB, CAPACITY, SWEEP) if (path := folder / name).is_file()), None)
