"""A server with a rate limit: asked again with `limits.retry`, and failures without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def limited(truth: Path) -> Iterator[str]:
    """The simulated engine, which takes 10 requests a second and says after how long to come again."""
    faults = ["--rate-limit", "10/s", "--truth", str(truth)]
    command = [sys.executable, "-m", "harness", "sim", "--ttft", "5ms", "--itl", "1ms", "--port", "0", *faults]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("listening on ")
    finally:
        process.terminate()
        process.wait(20)


def play(tmp_path: Path, run_harness: Any, limits: str) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Records, summary, and how often the engine refused one of the run's requests."""
    truth = tmp_path / "truth.jsonl"
    with limited(truth) as url:
        (tmp_path / "c.yaml").write_text(
            f"backend: {{kind: openai, url: '{url}', model: m}}\n"
            "workload: {kind: chat, turns: 1, input_tokens: 10, output_tokens: 4, system_tokens: 0}\n"
            f"load: {{concurrency: 16, sessions: 24, error_budget: 100%, workers: 1}}\nlimits: {{{limits}}}\n"
        )
        done = run_harness("run", "c.yaml", "--json", cwd=tmp_path)
    summary = json.loads(done.stdout)
    (path,) = (tmp_path / "results").glob("*/records-0.jsonl")
    records = [row for row in map(json.loads, path.read_text().splitlines()) if "node" in row]
    ids = {record["id"] for record in records}
    answers = [row for row in map(json.loads, truth.read_text().splitlines()) if row.get("id") in ids]
    return records, summary, sum(row["status"] == 429 for row in answers)


def test_what_is_asked_again_is_no_failure_and_its_waits_are_counted(tmp_path: Path, run_harness: Any) -> None:
    records, summary, refused = play(tmp_path, run_harness, "retry: 20")
    assert summary["counts"]["requests"] == {"sent": 24, "ok": 24, "failed": 0, "by_error": {}}
    assert refused == sum(record["attempt"] - 1 for record in records) > 0
    for record in records:
        assert record["http_status"] == 200 and record["chunks"] == len(record["chunk_us"])
        assert (record["first_token_ns"] - record["sent_ns"]) / 1e9 >= record["attempt"] - 1  # Retry-After: 1
    assert summary["metrics"]["e2e"]["max"] >= 1
    (finding,) = [each for each in summary["validity"]["findings"] if each["code"] == "retried"]
    assert finding["value"] == refused and finding["severity"] == "info"


@pytest.mark.parametrize("limits", ["", "retry: 0"])
def test_what_is_not_asked_again_is_a_failure(tmp_path: Path, run_harness: Any, limits: str) -> None:
    records, summary, refused = play(tmp_path, run_harness, limits)
    assert refused > 0 and summary["counts"]["requests"]["by_error"] == {"http_429": refused}
    assert {record["attempt"] for record in records} == {1}
    assert not [each for each in summary["validity"]["findings"] if each["code"] == "retried"]
