"""Install Ray, and harness beside it, in a venv of its own, for the tests that run it for real.

    python tests/ray/install_ray.py

About 100 MB are fetched and 400 MB lie in `.cache/ray-venv` (or below $HARNESS_CACHE) afterwards; what is there is not
installed again. harness is installed editable, so the tests see the code as it is. Prints the venv's Python.

Exit codes: 0 done; 1 a step failed, its log is named; 3 Ray cannot be had on this machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
FOLDER = CACHE / "ray-venv"
LOG = CACHE / "ray-venv.log"
PINNED = ("ray==2.60.0", "pytest>=8.3")


def say(text: str) -> None:
    print(f"ray: {text}", file=sys.stderr, flush=True)


def place() -> str:
    """A venv cannot be moved, nor change its Python."""
    return f"Python {platform.python_version()} in {FOLDER}"


def state() -> str:
    """What the finished venv was made from; entry points are among it."""
    needs = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()[:12]
    return f"{' '.join(PINNED)} {needs} of {ROOT} {place()}"


def install(python: Path, old: str) -> int:
    """Make the venv, or bring that of the `old` state up to date. The exit code."""
    if not old.endswith(place()):
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        venv.create(FOLDER, with_pip=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", *PINNED, "--editable", ROOT]
    say(f"install Ray: about 100 MB to fetch ({LOG})")
    with LOG.open("wb") as log:
        if subprocess.call(list(map(str, pip)), stdin=subprocess.DEVNULL, stdout=log, stderr=log):
            told = LOG.read_text(errors="replace")
            print(*told.splitlines()[-15:], sep="\n", file=sys.stderr)
            if "No matching distribution found for ray" in told:
                say(f"there is no {PINNED[0]} for Python {platform.python_version()} on this system")
                return 3
            say(f"install Ray: failed; its output is in {LOG}")
            return 1
    (FOLDER / "ready").write_text(state())
    return 0


def main() -> int:
    python, ready = FOLDER / "bin" / "python", FOLDER / "ready"
    if sys.platform not in ("linux", "darwin"):
        say(f"the tests of Ray need Linux or macOS, this is {sys.platform}")
        return 3
    old = ready.read_text() if ready.is_file() else ""
    code = 0 if old == state() else install(python, old)
    if code == 0:
        print(python)
    return code


if __name__ == "__main__":
    sys.exit(main())
