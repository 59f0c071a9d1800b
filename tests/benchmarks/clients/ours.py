"""harness itself, as its users run it: `harness run CONFIG --quiet --json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scenario import Scenario
from told import Call, Told

from clients.protocol import Command, Failed
from harness import __version__
from harness.records.record import Record, decode_record

FINISHED = frozenset({0, 4, 10, 12})  # done, or done and judged


class Harness:
    """One worker process. Its records are on disk at the end, and are what is compared with the truth."""

    name = "harness"
    version = __version__
    workers_are_load = True

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        if workers > 1:
            self.name = f"harness, {workers} workers"

    def install(self) -> None:
        return

    def plays(self, scenario: Scenario) -> bool:
        return True

    def command(self, scenario: Scenario, url: str, folder: Path) -> Command:
        config = folder / "bench.json"
        config.write_text(json.dumps(experiment(scenario, url, self._workers)))
        run: list[str | Path] = [sys.executable, "-m", "harness", "run", config]
        argv = [*run, "--quiet", "--json", "--out", folder / "results"]
        return Command(argv=argv, codes=FINISHED)

    def told(self, scenario: Scenario, folder: Path, output: str) -> Told:
        run = run_folder(folder, output)
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        open_loop = scenario.rate is not None
        told = Told.of_calls(call_of(record, open_loop) for record in records(run) if record.chunk_us)
        return Told(
            ttft_s=told.ttft_s,
            itl_s=told.itl_s,
            calls=told.calls,
            failed=summary["counts"]["requests"]["failed"],
            verdict=verdict(summary),
            facts=health(run),
        )


def experiment(scenario: Scenario, url: str, workers: int) -> dict[str, Any]:
    """The config of a scenario: one question of 16 tokens a session, an answer of fixed length."""
    load: dict[str, Any] = {"sessions": scenario.requests, "workers": workers}
    if scenario.rate:
        load |= {"rate": f"{scenario.rate:g}/s", "arrivals": scenario.arrivals}
    else:
        load["concurrency"] = scenario.concurrency
    return {
        "name": scenario.name,
        "seed": 7,
        "backend": {"kind": "openai", "url": f"{url}/v1"},
        "workload": {
            "kind": "chat",
            "turns": 1,
            "system_tokens": 0,
            "input_tokens": 16,
            "output_tokens": scenario.tokens,
            "think": "0s",
            "exact_output": True,
        },
        "load": load,
    }


def run_folder(folder: Path, output: str) -> Path:
    """The folder of the one run below this one.

    Raises:
        Failed: there is none with a summary.
    """
    runs = [path.parent for path in folder.glob("results/*/summary.json")]
    if len(runs) != 1:
        raise Failed(output.strip()[-800:] or "no summary.json")
    return runs[0]


def records(run: Path) -> list[Record]:
    return [decode_record(line) for path in sorted(run.glob("records-*.jsonl")) for line in path.open("rb")]


def call_of(record: Record, open_loop: bool) -> Call:
    sent = record.sent_ns or 0
    return Call(
        id=record.id,
        sent_ns=sent,
        tokens_ns=sent + np.array(record.chunk_us, dtype=np.int64) * 1000,
        due_ns=record.intended_ns if open_loop else None,
    )


def verdict(summary: dict[str, Any]) -> str:
    """`valid`, or the verdict with the codes of what it rests on."""
    told = summary["validity"]
    codes = [finding["code"] for finding in told["findings"] if finding["severity"] != "info"]
    return " ".join([told["verdict"], *([f"({', '.join(codes)})"] if codes else [])])


def health(run: Path) -> dict[str, float]:
    """What the workers measured of themselves: the worst of each."""
    workers = [worker["health"] for worker in json.loads((run / "manifest.json").read_text())["workers"]]
    names = ("cpu_share", "loop_lag_p99_s", "send_lag_p99_s", "kernel_delay_p99_s", "write_lag_max_s", "rss_bytes")
    worst = {
        name: max((worker[name] for worker in workers if worker[name] is not None), default=None) for name in names
    }
    return {name: float(value) for name, value in worst.items() if value is not None}
