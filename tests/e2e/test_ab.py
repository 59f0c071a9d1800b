"""`harness ab` against two simulated engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

CONFIG = """\
name: base
backend: {kind: sim, ttft: 40ms, itl: 4ms}
workload: {kind: chat, turns: 1, output_tokens: 8, think: 0, system_tokens: 8, input_tokens: 8}
load: {concurrency: 4, sessions: 48}
"""
SLOW = CONFIG.replace("name: base", "name: slow").replace("40ms", "44ms").replace("4ms}", "4.4ms}")

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(CONFIG)
    (tmp_path / "slow.yaml").write_text(SLOW)
    return tmp_path


def test_ten_percent_slower_is_a_regression(run_harness: Cli, place: Path) -> None:
    done = run_harness("ab", "base.yaml", "slow.yaml", "--pairs", "4", "--json", cwd=place)
    found = json.loads(done.stdout)
    if done.returncode == 4:  # other tests run beside this one: then nothing may be said, and that is told
        assert "too busy" in str(found["notes"])
        return
    assert done.returncode == found["exit_code"] == 11, done.stderr
    ttft = next(one for one in found["metrics"] if one["term"] == "ttft.p50")
    assert ttft["verdict"] == "regression" and ttft["gated"]
    assert 1.05 < ttft["change"]["value"] < 1.15
    order = ["base", "candidate"]  # of the attempts; one whose run was spoilt is left out
    assert [run["first"] for run in found["runs"]] == [order[run["seed"] % 2] for run in found["runs"]]
    assert len({run["seed"] for run in found["runs"]}) == 4
    assert {one["what"] for one in found["differences"]} == {"backend.ttft", "backend.itl"}
    assert "can see +" in done.stderr  # before anything was measured
    folder = place / found["folder"]
    assert json.loads((folder / "ab.json").read_text()) == found
    assert "✗ regression" in (folder / "ab.md").read_text()
    for run in found["runs"]:
        seeds = {
            json.loads((place / run[arm] / "summary.json").read_text())["run"]["seed"] for arm in ("base", "candidate")
        }
        assert seeds == {run["seed"]}


def test_the_same_twice_is_no_worse(run_harness: Cli, place: Path) -> None:
    words = ("ab", "base.yaml", "base.yaml", "--pairs", "4", "--margin", "10%", "-q", "--one-at-a-time")
    done = run_harness(*words, cwd=place)
    if done.returncode == 4:
        assert "too busy" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # no terminal: what is for people goes to standard error
    assert "no worse" in done.stderr
    assert "the two configs are the same" in done.stderr


def test_a_candidate_that_fails_is_never_a_success(run_harness: Cli, place: Path) -> None:
    options = 'options: ["--error-rate", "30%"]}'
    (place / "failing.yaml").write_text(CONFIG.replace("itl: 4ms}", f"itl: 4ms, {options}"))
    done = run_harness("ab", "base.yaml", "failing.yaml", "--pairs", "3", cwd=place)
    assert done.returncode in (3, 4), done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "load.sessions=8", "--margin", "much"], "--margin"),
        (["--metric", "ttfft.p50"], "ttft"),
        (["--metric", "e2e.p50", "--metric", "e2e.p90", "--metric", "ttft.p50", "--metric", "ttft.p90"], "at most 3"),
    ],
)
def test_wrong_words(run_harness: Cli, place: Path, words: list[str], told: str) -> None:
    done = run_harness("ab", "base.yaml", "slow.yaml", *words, cwd=place)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (place / "results").exists()


def test_different_loads_are_refused(run_harness: Cli, place: Path) -> None:
    (place / "other.yaml").write_text(CONFIG.replace("concurrency: 4", "concurrency: 5"))
    done = run_harness("ab", "base.yaml", "other.yaml", cwd=place)
    assert done.returncode == 2
    assert "load.concurrency: 4 → 5" in done.stderr
