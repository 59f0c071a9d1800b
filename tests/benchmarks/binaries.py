"""The two C programs, built on the spot with the system's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute() / "bench"


class Unbuildable(Exception):
    """There is no compiler, or it refused. The message says which."""


def build(name: str) -> Path:
    """`<name>.c` as a program in the cache, compiled anew where the source is newer.

    Raises:
        Unbuildable: no compiler, or it failed.
    """
    source, program = HERE / f"{name}.c", CACHE / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unbuildable("no C compiler here: install one (Debian, Ubuntu: apt install gcc), or name it in CC")
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unbuildable(f"{compiler} cannot build {source.name}:\n{done.stderr.strip()}")
    return program
