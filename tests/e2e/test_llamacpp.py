"""A benchmark of llama.cpp's own server, and each of our figures held against what the server says itself."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import Engine
    from tests.e2e.conftest import Cli

pytestmark = pytest.mark.engine

REQUESTS, OUTPUT = 200, 96
# What makes a run invalid on a busy machine, and rightly: no fault of the code under test.
BUSY = {"loop_lag", "send_lag", "worker_cpu", "steal"}

CONFIG = """
name: llama-server
seed: 11
backend: {{kind: openai, url: "{url}", model: tiny}}
workload:
  kind: chat
  turns: 1
  system_tokens: 40
  input_tokens: {{dist: lognormal, median: 60, sigma: 0.8, max: 400}}
  output_tokens: {output}
load: {{concurrency: 8, sessions: {requests}, workers: 1}}
slo: ["error_rate < 5%", "ttft.p50 < 1m"]
cost: {{gpu_hour: 1.00}}
"""


class Finished(NamedTuple):
    """One run: what it printed, what it left, and how the server's own counters moved meanwhile."""

    exit_code: int
    printed: dict[str, Any]
    folder: Path
    records: list[dict[str, Any]]
    moved: dict[str, float]


def counters(engine: Engine) -> dict[str, float]:
    text = httpx.get(f"{engine.root}/metrics", trust_env=False).text
    return {name: float(value) for name, value in re.findall(r"^llamacpp:(\w+) (\S+)$", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def finished(llama_server: Engine, run_harness: Cli, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    home = tmp_path_factory.mktemp("run")
    text = CONFIG.format(url=llama_server.url, output=OUTPUT, requests=REQUESTS)
    (home / "config.yaml").write_text(text)
    before = counters(llama_server)
    done = run_harness("run", "config.yaml", "--json", "--quiet", cwd=home)
    after = counters(llama_server)
    assert done.returncode in (0, 4), done.stderr
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    lines = [line for path in folder.glob("records-*.jsonl") for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    moved = {name: after[name] - before[name] for name in after}
    return Finished(done.returncode, json.loads(done.stdout), folder, records, moved)


def test_folder_holds_what_the_contract_lists(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert {"experiment.yaml", "manifest.json", "records-0.jsonl", "summary.json", "report.html"} <= names
    assert json.loads((finished.folder / "summary.json").read_text()) == finished.printed
    assert re.fullmatch(r"\d{8}T\d{6}Z-llama-server-[0-9a-f]{4}", finished.folder.name)


def test_nothing_failed(finished: Finished) -> None:
    counts = finished.printed["counts"]
    assert counts["sessions"] == {"planned": REQUESTS, "finished": REQUESTS, "failed": 0}
    assert counts["requests"] == {"sent": REQUESTS, "ok": REQUESTS, "failed": 0, "by_error": {}}
    assert [slo["verdict"] for slo in finished.printed["slo"]] == ["pass", "pass"]


def test_run_is_valid_unless_the_machine_was_busy(finished: Finished) -> None:
    validity = finished.printed["validity"]
    grave = {finding["code"] for finding in validity["findings"] if finding["severity"] == "error"}
    assert grave <= BUSY
    assert (validity["verdict"] == "invalid") == bool(grave)
    assert finished.exit_code == (4 if grave else 0)


def test_summary_has_the_contract_s_keys(finished: Finished) -> None:
    summary = finished.printed
    keys = "schema run target counts metrics rates tokens cost energy slo validity"
    assert set(keys.split()) <= set(summary)
    assert summary["schema"] == 1
    assert summary["target"]["model"] == "tiny"
    for metric in ("ttft", "tpot", "itl", "e2e", "ttft_intended", "e2e_intended", "session.makespan"):
        stats = summary["metrics"][metric]
        assert stats["unit"] == "s"
        assert stats["min"] <= stats["p50"] <= stats["max"]
    in_window = summary["metrics"]["ttft"]["n"]
    assert REQUESTS - 8 <= in_window <= REQUESTS  # the window ends when the last of 8 users has nothing to start
    assert summary["metrics"]["ttft"]["p99.9"] is None  # 200 samples cannot tell
    assert summary["cost"]["total"] == pytest.approx(summary["run"]["window_s"] / 3600, rel=0.01)


def test_tokens_are_those_the_server_counted(finished: Finished) -> None:
    tokens = finished.printed["tokens"]
    assert tokens["source"] == "server"
    assert tokens["output"] == REQUESTS * OUTPUT
    probes = finished.moved["tokens_predicted_total"] - tokens["output"]
    assert 0 <= probes <= 16  # asked before the load, to see what the server can do
    assert tokens["input"] == sum(record["input_tokens"] for record in finished.records)
    assert tokens["cached_input"] == sum(record["cached_tokens"] for record in finished.records)
    for record in finished.records:
        timings = record["server"]["timings"]
        assert record["output_tokens"] == timings["predicted_n"] == OUTPUT
        assert record["cached_tokens"] == timings["cache_n"]
        assert record["input_tokens"] == timings["cache_n"] + timings["prompt_n"]


def test_every_token_is_an_event_with_a_time(finished: Finished) -> None:
    for record in finished.records:
        assert record["chunks"] == len(record["chunk_us"]) == OUTPUT
        assert record["chunk_us"] == sorted(record["chunk_us"])


def test_decode_time_is_the_server_s(finished: Finished) -> None:
    """Both count from the first token to the last: one median against the other, within 10 %."""
    ours = statistics.median(record["last_token_ns"] - record["first_token_ns"] for record in finished.records)
    theirs = statistics.median(record["server"]["timings"]["predicted_ms"] for record in finished.records)
    assert ours / 1e6 == pytest.approx(theirs, rel=0.10)


def test_time_to_first_token_holds_the_server_s_prefill(finished: Finished) -> None:
    """Ours has the network and the wait for a slot on top, so it is never the shorter one."""
    for record in finished.records:
        ttft_ms = (record["first_token_ns"] - record["sent_ns"]) / 1e6
        assert ttft_ms > record["server"]["timings"]["prompt_ms"]
