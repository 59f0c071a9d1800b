"""llama-server's own times beside ours, each request held against its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest

from tests.engines.cores import Means, as_client, hold, wrapped

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
BINARY = CACHE / "engines" / "llama-server"

pytestmark = pytest.mark.engine


def test_time_to_first_token_is_the_server_s(tiny_model: Path, tmp_path: Path) -> None:
    """`prompt_ms` begins when a slot takes the request. There is a slot for each session, so nobody waits for one; what
    ours has on top is the connection (llama-server closes each), HTTP, the chat template, and tokenising."""
    if not BINARY.exists():
        reason = "llama-server is not built: make engines"
        pytest.fail(reason) if os.environ.get("HARNESS_REQUIRE_ENGINES") == "1" else pytest.skip(reason)
    words = [sys.executable, "-m", "harness", "run", str(ROOT / "configs/llamacpp.yaml"), "--json", "--quiet"]
    command = as_client(words)
    for override in (
        f"backend.binary={wrapped(BINARY, tmp_path)}",
        "backend.model=tiny",
        f"backend.launch.model={tiny_model / 'model.gguf'}",
        'backend.launch.args=["-t", "1", "--parallel", "4", "--ctx-size", "16384"]',
        "workload.think=0s",
        "workload.output_tokens=24",
        "load.concurrency=4",
        "load.warmup=0",
        "load.workers=1",
        "load.sessions=100",
    ):
        command += ["-o", override]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4, 12), done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"] == {"sent": 300, "ok": 300, "failed": 0, "by_error": {}}
    lines = [line for path in tmp_path.glob("results/*/records-*.jsonl") for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    timings = [record["server"]["timings"] for record in records]
    ours = [(record["first_token_ns"] - record["sent_ns"]) / 1e6 for record in records]
    assert all(mine >= its["prompt_ms"] for mine, its in zip(ours, timings, strict=True))
    prompt, rest = (mean(its[name] for its in timings) for name in ("prompt_ms", "predicted_ms"))
    whole = mean((record["last_token_ns"] - record["sent_ns"]) / 1e6 for record in records)
    told = f"the server's prompt_ms {prompt:.1f} ms (means of {len(records)})"
    found = {finding["code"] for finding in summary["validity"]["findings"]}
    hold(Means(mean(ours), whole), Means(prompt, prompt + rest), told, found)
