"""Virtual environments of their own for clients from PyPI, pinned, made once."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from binaries import CACHE

from clients.protocol import NotInstalled


def ensure(name: str, requirements: Sequence[str], *, options: Sequence[str] = ()) -> Path:
    """The `bin` folder of the venv of this name, with these requirements in it.

    Raises:
        NotInstalled: pip failed; its last lines are the reason.
    """
    folder = CACHE / "venvs" / name
    done = folder / "installed"
    wanted = "\n".join([*options, *requirements])
    if not (done.exists() and done.read_text() == wanted):
        print(f"bench: installing {' '.join(requirements)[:100]} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        pip = subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", *quiet, *options, *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if pip.returncode:
            raise NotInstalled(" ".join(pip.stderr.strip().splitlines()[-2:]) or f"pip ended with {pip.returncode}")
        done.write_text(wanted)
    return folder / "bin"


def version(binaries: Path, package: str) -> str:
    """The version of a package in the venv of this `bin` folder."""
    folders = [str(path) for path in (binaries.parent / "lib").glob("python3*/site-packages")]
    found = next(iter(importlib.metadata.distributions(name=package, path=folders)), None)
    return found.version if found else "?"
