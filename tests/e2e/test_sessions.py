"""Sessions from the outside: agents on the simulated engine, told by task; what needs a whole run to be seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
    summary, folder = fan
    [row] = summary["sessions"]["joins"]
    assert (row["fan_out"], row["quantile"]) == (8, pytest.approx(0.95 ** (1 / 8)))
    branches: dict[str, list[float]] = {}
    for line in (folder / "records-0.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["node"].startswith("map-") and one["phase"] == "measure":
            branches.setdefault(one["session"], []).append((one["end_ns"] - one["intended_ns"]) / 1e9)
    every = [took for session in branches.values() for took in session]
    assert row["each"] == pytest.approx(np.quantile(every, row["quantile"]))
    assert row["slowest_p95"] == pytest.approx(np.quantile([max(took) for took in branches.values()], 0.95))
    if summary["validity"]["verdict"] != "invalid":  # a machine that halts now and then slows all branches at once
        assert row["each_ci95"][0] <= row["slowest_p95"] <= row["each_ci95"][1]


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


BY_HAND: dict[str, Any] = {
    "name": "by-hand",
    "seed": 1,
    "workload": {
        "kind": "dag",
        "exact_output": True,
        "nodes": [
            {"name": "plan", "input_tokens": 20, "output_tokens": 8},
            {"name": "a.1", "after": "plan", "input_tokens": 20, "output_tokens": 20},
            {"name": "a.2", "history": "a.1", "input_tokens": 20, "output_tokens": 5, "gap": "30ms"},
            {"name": "b", "after": "plan", "input_tokens": 20, "output_tokens": 40, "gap": "100ms"},
            {"name": "c", "after": "plan", "input_tokens": 20, "output_tokens": 10},
            {"name": "answer", "history": "plan", "joins": ["a.2", "b", "c"], "output_tokens": 10, "gap": "10ms"},
        ],
    },
    "load": {"concurrency": 2, "sessions": 20, "workers": 1},
}


def test_a_dag_computed_by_hand_is_measured_to_the_clock_s_error(run_harness: Cli, tmp_path: Path) -> None:
    """At 40 ms and 2 ms a token: plan 54 ms, a 78 + 30 + 48, b 100 + 118, c 58, answer 10 + 58."""
    pace = {"kind": "sim", "ttft": "40ms", "itl": "2ms", "truth": str(tmp_path / "truth.jsonl")}
    summary, folder = run(tmp_path, run_harness, BY_HAND | {"backend": pace})
    metrics = summary["metrics"]
    by_hand = {
        "session.makespan": 0.054 + 0.100 + 0.118 + 0.010 + 0.058,
        "session.critical_path.prefill": 3 * 0.040,
        "session.critical_path.decode": 0.014 + 0.078 + 0.018,
        "session.critical_path.gap": 0.110,
        "session.straggler": 0.156 - 0.118,
        "session.parallel_efficiency": (0.156 + 0.118 + 0.058) / (3 * 0.156),
    }
    for name, value in by_hand.items():
        assert metrics[name]["min"] - 0.015 < value < metrics[name]["max"] + 0.015
    assert metrics["session.makespan"]["min"] > by_hand["session.makespan"] - 0.001
    records = [json.loads(line) for line in (folder / "records-0.jsonl").read_text().splitlines()]
    truth = {row["id"]: row for row in map(json.loads, (tmp_path / "truth.jsonl").read_text().splitlines())}
    t0 = json.loads((folder / "manifest.json").read_text())["clock"]["t0_monotonic_ns"]
    late = [one["first_token_ns"] + t0 - truth[one["id"]]["event_ns"][0] for one in records]
    assert abs(min(late, key=abs)) < 1_000_000  # the best of 120 stamps: both are of one clock


def test_a_pattern_of_one_s_own_runs(run_harness: Cli, tmp_path: Path) -> None:
    """The twelve lines of docs/workloads.md, from the file to the session table."""
    text = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_agent.py").write_text(code)
    workload = {"kind": "./my_agent.py:research", "searches": 3, "scale": "laptop", "fetch": "10ms"}
    load = {"concurrency": 2, "sessions": 6, "workers": 1}
    config = FAN | {"backend": {"kind": "sim", "profile": "instant"}, "workload": workload, "load": load}
    summary, _ = run(tmp_path, run_harness, config)
    assert summary["counts"]["sessions"]["finished"] == 6
    assert summary["sessions"]["amplification"]["requests"] == 5


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
