"""AIPerf."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scenario import Scenario
from told import Call, Told

from clients import venvs
from clients.peer import MODEL, QUIET, tokenizer
from clients.protocol import Command, Failed

_PINS = ("aiperf==0.13.0",)


class AiPerf:
    """`aiperf profile`, with the records it exports."""

    name = "aiperf"
    version = ""
    workers_are_load = False

    def install(self) -> None:
        tokenizer()
        self._bin = venvs.ensure("aiperf", _PINS)
        self.version = venvs.version(self._bin, "aiperf")

    def plays(self, scenario: Scenario) -> bool:
        return True

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        if scenario.rate:
            how = ["--request-rate", f"{scenario.rate:g}", "--arrival-pattern", scenario.arrivals]
        else:
            how = ["--concurrency", str(scenario.concurrency)]
        argv: list[str | Path] = [
            *(self._bin / "aiperf", "profile", "--model", MODEL, "--url", url),
            *("--endpoint-type", "chat", "--streaming", "--tokenizer", tokenizer(), "--use-server-token-count"),
            *("--synthetic-input-tokens-mean", "16", "--synthetic-input-tokens-stddev", "0"),
            *("--output-tokens-mean", str(scenario.tokens), "--output-tokens-stddev", "0"),
            *("--request-count", str(scenario.requests), *how, "--random-seed", "7"),
            *("--ui", "none", "--export-level", "records", "--artifact-dir", folder / "artifacts"),
        ]
        return Command(argv=argv, env=QUIET)

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        path = folder / "artifacts" / "profile_export.jsonl"
        if not path.exists():
            raise Failed(output.strip()[-800:])
        calls, failed = [], 0
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            about, metrics = record["metadata"], record["metrics"]
            if record.get("error") or "time_to_first_token" not in metrics:
                failed += 1
                continue
            first = metrics["time_to_first_token"]["value"]
            gaps = metrics.get("inter_chunk_latency", {}).get("value", [])
            stamps = np.concatenate([[first], first + np.cumsum(gaps)]) * 1e6
            sent = about["request_start_ns"]
            calls.append(
                Call(id=about["x_request_id"], sent_ns=sent, tokens_ns=sent + np.round(stamps).astype(np.int64))
            )
        return Told.of_calls(calls, failed=failed)
