"""SGLang's serving benchmark: its Rust client, which is one extension module of the wheel and works alone.

The Python client, `sglang.benchmark.serving`, imports the engine, which cannot be imported without packages for CUDA
(torchvision, triton, tvm-ffi, ... beside torch itself); so it is not here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scenario import Scenario
from told import Told

from clients import wheels
from clients.peer import MODEL, OFFLINE, QUIET, tokenizer
from clients.protocol import Command, Failed

_VERSION = "0.5.23"
_RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); import _bench; _bench.run_argv(sys.argv)"


class SglangRust:
    """What `sglang.benchmark.serving --rust-client` calls. It sends no x-request-id."""

    name = "sglang bench (Rust)"
    version = _VERSION
    workers_are_load = False

    def install(self) -> None:
        tokenizer()
        self._module = wheels.member(f"sglang=={_VERSION}", "sglang/srt/rust_extensions/_bench.")

    def plays(self, scenario: Scenario) -> bool:
        return scenario.rate is None or scenario.arrivals == "poisson"

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        how = ["--request-rate", f"{scenario.rate:g}"] if scenario.rate else []
        closed = ["--max-concurrency", str(scenario.concurrency)] if scenario.concurrency else []
        asked = ["--random-input-len", "16", "--random-output-len", str(scenario.tokens), "--random-range-ratio", "1"]
        argv: list[str | Path] = [
            *(sys.executable, "-c", _RUN, str(self._module.parent), "--backend", "sglang-oai-chat", "--base-url", url),
            *("--model", MODEL, "--tokenizer", str(tokenizer()), "--dataset-name", "random-ids", *asked),
            *("--num-prompts", str(scenario.requests), *how, *closed, "--warmup-requests", "0"),
            *("--ready-check-timeout-sec", "0", "--disable-tqdm"),
            *("--output-file", folder / "result.json", "--output-details"),
        ]
        return Command(argv=argv, env=QUIET | OFFLINE)

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        try:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8").splitlines()[-1])
        except OSError as error:
            raise Failed(output.strip()[-800:]) from error
        return Told(
            ttft_s=np.array(result["ttfts"], dtype=np.float64),
            itl_s=np.concatenate([np.array(gaps, dtype=np.float64) for gaps in result["itls"]]),
            failed=sum(bool(error) for error in result["errors"]),
        )
