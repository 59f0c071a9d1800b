"""Sessions from the outside: agents on the simulated engine, told by task; what needs a whole run to be seen."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.e2e.conftest import Cli

FAN: dict[str, Any] = {
    "name": "fan",
    "seed": 5,
    "backend": {"kind": "sim", "ttft": "5ms", "itl": "1ms"},
    "workload": {
        "kind": "map_reduce",
        "width": 8,
        "scale": "laptop",
        "output_tokens": {"dist": "lognormal", "median": 400, "sigma": 0.5},
        "reduce_tokens": 64,
    },
    "load": {"concurrency": 4, "sessions": 160, "workers": 1},
}


def run(home: Path, run_harness: Cli, config: dict[str, Any], *words: str) -> tuple[dict[str, Any], Path]:
    """The summary of a run that may be invalid for the client's own slowness, and its folder."""
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    done = run_harness("run", "config.yaml", "--json", *words, cwd=home)
    assert done.returncode in (0, 4), done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["counts"]["requests"]["failed"] == 0
    return summary, home / "results" / summary["run"]["id"]


@pytest.fixture(scope="module")
def fan(run_harness: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    config = FAN | {"load": FAN["load"] | {"solo": 6, "solo_for": "20s"}}
    return run(tmp_path_factory.mktemp("fan"), run_harness, config)


def test_the_join_tail_row_agrees_with_what_was_measured(fan: tuple[dict[str, Any], Path]) -> None:
    """Branches of this workload know nothing of each other, so the quantile that each must meet is the joins' p95."""
    [row] = fan[0]["sessions"]["joins"]
    assert (row["fan_out"], row["quantile"]) == (8, pytest.approx(0.95 ** (1 / 8)))
    low, high = row["each_ci95"]
    assert low <= row["slowest_p95"] <= high


def test_slowdown_comes_from_sessions_replayed_alone(fan: tuple[dict[str, Any], Path], run_harness: Cli) -> None:
    summary, folder = fan
    assert summary["sessions"]["slowdown"] == {"asked": 6, "sessions": 6, "reason": ""}
    assert summary["metrics"]["session.slowdown"]["n"] == 6
    assert summary["metrics"]["session.slowdown"]["mean"] > 0.8
    alone = [json.loads(line) for line in (folder / "solo.jsonl").read_text().splitlines()]
    load = [json.loads(line) for line in (folder / "records-0.jsonl").read_text().splitlines()]
    assert len(alone) == 7 * 9  # the first one warms what all share
    assert {one["id"] for one in alone}.isdisjoint(one["id"] for one in load)
    shape = {(one["session"], one["node"]): (one["planned_input"], one["planned_output"]) for one in load}
    assert all(shape[one["session"], one["node"]] == (one["planned_input"], one["planned_output"]) for one in alone)
    spans: dict[str, list[int]] = {}
    for one in alone:
        span = spans.setdefault(one["session"], [one["sent_ns"], one["end_ns"]])
        spans[one["session"]] = [min(span[0], one["sent_ns"]), max(span[1], one["end_ns"])]
    ordered = sorted(spans.values())
    assert all(before[1] <= after[0] for before, after in pairwise(ordered))
    assert summary["counts"]["requests"]["sent"] == len(load)


def test_a_cache_warmed_by_an_earlier_run_is_a_finding(run_harness: Cli, tmp_path: Path) -> None:
    """Without a nonce a second run of the same plan finds its prompts in the server's cache."""
    engine = ["--profile", "h100-vllm-8b", "--time-scale", "0.1"]
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", *engine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
            config = FAN | {
                "backend": {"kind": "openai", "url": url},
                "workload": {
                    "kind": "chat",
                    "turns": 2,
                    "input_tokens": 400,
                    "output_tokens": 8,
                    "think": 0,
                    "nonce": False,
                },
                "load": {"concurrency": 4, "sessions": 40, "workers": 1},
            }
            (first, folder), (second, _) = (run(tmp_path, run_harness, config) for _ in range(2))
        finally:
            server.terminate()
    found = first["sessions"]["prefix_reuse"]
    assert found["ideal"] == json.loads((folder / "manifest.json").read_text())["settings"]["cached_share"] > 0.3
    assert 0.8 < found["capture"] <= 1.0
    assert "cached_tokens" not in {finding["code"] for finding in first["validity"]["findings"]}
    assert "cached_tokens" in {finding["code"] for finding in second["validity"]["findings"]}
    assert second["validity"]["verdict"] != "valid"
    assert second["sessions"]["prefix_reuse"]["measured"] > second["sessions"]["prefix_reuse"]["ideal"] + 0.02
