"""GuideLLM."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scenario import Scenario
from told import Told

from clients import venvs
from clients.peer import MODEL, OFFLINE, QUIET, tokenizer
from clients.protocol import Command, Failed

_PINS = ("torch==2.13.0", "guidellm==0.8.1")


class GuideLlm:
    """`guidellm run`. It sends no x-request-id, and of the gaps it keeps only their mean in each request."""

    name = "guidellm"
    version = ""
    workers_are_load = False

    def install(self) -> None:
        tokenizer()
        self._bin = venvs.ensure("guidellm", _PINS)
        self.version = venvs.version(self._bin, "guidellm")

    def plays(self, scenario: Scenario) -> bool:
        return True

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        if scenario.rate:
            profile = f"kind={scenario.arrivals},rate={scenario.rate:g}"
        else:
            profile = f"kind=concurrent,streams={scenario.concurrency}"
        argv: list[str | Path] = [
            *(self._bin / "guidellm", "run", "--backend", f"kind=openai_http,target={url},model={MODEL}"),
            *("--profile", profile, "--constraint", f"kind=max_requests,count={scenario.requests}"),
            *("--tokenizer", f"kind=hf_auto,model={tokenizer()}"),
            *("--data", f"kind=synthetic_text,prompt_tokens=16,output_tokens={scenario.tokens}"),
            *("--output", f"kind=json,path={folder / 'result.json'}", "--disable-console"),
        ]
        return Command(argv=argv, env=QUIET | OFFLINE)

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        try:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise Failed(output.strip()[-800:]) from error
        requests = result["benchmarks"][0]["requests"]
        done = requests["successful"]
        gaps = [request["inter_token_latency_ms"] for request in done]
        return Told(
            ttft_s=np.array([request["time_to_first_token_ms"] for request in done], dtype=np.float64) / 1e3,
            itl_s=np.array([gap for gap in gaps if gap is not None], dtype=np.float64) / 1e3,
            failed=len(requests["errored"]),
        )
