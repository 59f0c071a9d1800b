"""`harness compare` and `harness gate` on real runs of the simulated engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

CONFIG = """\
name: small
backend: {kind: sim, ttft: 20ms, itl: 2ms}
workload: {kind: chat, turns: 1, output_tokens: 8, think: 0, system_tokens: 8, input_tokens: 8}
load: {concurrency: 4, sessions: 80}
gate: ["regress(ttft.p50) < 5%", "ttft.p50 < 1s"]
"""
CLIENT = {"loop_lag", "send_lag", "worker_cpu", "steal", "gc_pause", "coalesced", "achieved_rate"}

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def runs(run_harness: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with four runs: the base, the same by another seed, one twice as slow, and one of another load."""
    place = tmp_path_factory.mktemp("compare")
    (place / "config.yaml").write_text(CONFIG)
    changes = {
        "base": [],
        "again": ["--seed", "5"],
        "slow": ["-o", "backend.ttft=40ms", "-o", "backend.itl=4ms"],
        "other": ["-o", "workload.turns=2"],
        "open": ["-o", "load={rate: 40/s, sessions: 80}"],
    }
    found = {}
    for name, words in changes.items():
        for _ in range(3):  # a machine busy with other tests may spoil one
            done = run_harness("run", "config.yaml", "-q", "--json", *words, cwd=place)
            summary = json.loads(done.stdout)
            if summary["validity"]["verdict"] != "invalid":
                break
        else:
            pytest.skip("this machine is too busy for a valid run")
        found[name] = f"results/{summary['run']['id']}"
    return place, found


def test_compare_finds_the_difference_and_names_it(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    done = run_harness("compare", run["base"], run["again"], run["slow"], "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    rows = {row["term"]: row for row in found["rows"]}
    _, slow = rows["ttft.p50"]["versus"]
    assert slow["change"] == "worse"
    assert slow["ratio"]["low"] < slow["ratio"]["value"] < slow["ratio"]["high"]
    assert slow["ratio"]["value"] == pytest.approx(2.0, rel=0.15)
    assert {(one["where"], one["what"]) for one in found["differences"][1]} == {
        ("config", "backend.ttft"),
        ("config", "backend.itl"),
    }
    assert found["differences"][0] == []


def test_formats_go_where_they_are_sent(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    words = ("compare", run["base"], run["slow"], "--format", "md,json,terminal", "-O", "out/told.{ext}")
    done = run_harness(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (place / "out").iterdir()) == ["told.json", "told.md", "told.txt"]
    assert "✗ worse" in (place / "out" / "told.txt").read_text()


def test_unlike_loads(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    refused = run_harness("compare", run["base"], run["other"], cwd=place)
    assert refused.returncode == 2
    assert "workload.turns" in refused.stderr
    assert "Speed and memory" in refused.stderr  # that much can be told of any runs
    assert "ttft.p50" not in refused.stderr
    assert refused.stdout == ""
    assert "DIFFERENT LOADS" in run_harness("compare", run["base"], run["other"], "--force", cwd=place).stderr
    never = run_harness("compare", run["base"], run["open"], "--force", cwd=place)
    assert never.returncode == 2
    assert "open" in never.stderr
    assert run_harness("compare", run["base"], cwd=place).returncode == 2
    assert run_harness("compare", run["base"], "nowhere", cwd=place).returncode == 2


def test_the_classic_table_of_open_and_closed_loads(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    done = run_harness("compare", run["base"], run["slow"], run["open"], "--table", "--format", "md", cwd=place)
    assert done.returncode == 0, done.stderr
    head, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert head == "|  | model | optimisation | concurrency | tokens/s | ms/token | memory |"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["A", "B", "C"] and [row[3] for row in cells] == ["4", "4", "40/s"]
    assert float(cells[1][5]) == pytest.approx(4.0, rel=0.25)  # itl: 4ms
    assert {row[6] for row in cells} == {"–"}  # a simulated engine holds no model
    of_all = json.loads(run_harness("compare", "results", "--table", "--json", cwd=place).stdout)
    assert len(of_all["classic"]) == len(list((place / "results").glob("*/manifest.json")))
    assert of_all["rows"] == []


def test_a_gate_with_a_stored_baseline(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    early = run_harness("gate", run["base"], "--baseline", "main", cwd=place)
    assert early.returncode == 2 and "no baseline named main" in early.stderr
    stored = run_harness("gate", run["base"], "--update-baseline", "main", cwd=place)
    assert stored.returncode == 0, stored.stderr
    assert (place / "results" / "baselines" / "main.json").is_file()
    slow = run_harness("gate", run["slow"], "--baseline", "main", "--json", cwd=place)
    assert slow.returncode == 11, slow.stderr
    assert [result["verdict"] for result in json.loads(slow.stdout)["results"]] == ["fail", "pass"]
    unfit = run_harness("gate", run["other"], "--baseline", "main", cwd=place)
    assert unfit.returncode == 12
    assert "does not fit" in unfit.stderr


def test_a_gate_without_a_baseline(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    done = run_harness("gate", run["base"], cwd=place)
    assert done.returncode == 0
    assert "skipped" in done.stderr and done.stdout == ""
    named = run_harness("gate", run["base"], "--format", "terminal", cwd=place)
    assert "skipped" in named.stdout and named.stderr == ""
    assert run_harness("gate", run["base"], "--expr", "ttft.p50 < 1ms", cwd=place).returncode == 10
    assert run_harness("gate", run["base"], "-e", "ttft.p99 < 1s", cwd=place).returncode == 12
    assert run_harness("gate", run["base"], "-e", "ttft.p50 <", cwd=place).returncode == 2
    asked = run_harness("gate", run["base"], "-e", "regress(ttft.p50) < 5%", cwd=place)
    assert asked.returncode == 2 and "--baseline RUN" in asked.stderr


def test_reports_for_ci(run_harness: Cli, runs: tuple[Path, dict[str, str]]) -> None:
    place, run = runs
    done = run_harness("report", run["base"], "--format", "github-annotations", cwd=place)
    assert done.stdout.startswith("::")
    done = run_harness("report", run["base"], "--format", "junit", cwd=place)
    assert done.stdout.startswith("<?xml")
