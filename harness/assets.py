"""Where the files that travel with the package are: profiles, prices, presets.

A wheel carries the whole of `configs/` as `harness/data`, so both give the same names.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder with the presets (`quickstart.yaml`, ...), `profiles/`, `prices/`."""
    packed = _PACKAGE / "data"
    return packed if packed.is_dir() else _PACKAGE.parent / "configs"


def find(relative: str) -> Path | None:
    """The asset of that name, or None."""
    path = root() / relative
    return path if path.is_file() else None
