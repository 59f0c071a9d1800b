"""What the other load generators need: a tokenizer that is on this machine, and quiet."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from binaries import ROOT

from clients.protocol import NotInstalled

QUIET = {"DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
MODEL = "bench/mock"


@cache
def tokenizer() -> Path:
    """The Hugging Face folder of the tiny model of the engine tests, made where it is missing.

    Raises:
        NotInstalled: it cannot be made.
    """
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "engines" / "tiny_model.py"], capture_output=True, text=True, check=False
    )
    folder = Path(made.stdout.strip().splitlines()[-1] if made.stdout.strip() else "") / "hf"
    if made.returncode or not folder.is_dir():
        raise NotInstalled(f"no tokenizer: tests/engines/tiny_model.py: {made.stderr.strip()[-200:]}")
    return folder
