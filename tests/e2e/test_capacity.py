"""`harness capacity` against an engine whose limit is known by Little's law.

Four slots, 20 ms a step, 10 tokens an answer: 20 answers a second, however many wait. With N sessions at once an
answer takes N / 20 s, so a mean of 275 ms holds up to 5.5 sessions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

PROFILE = """\
name: slots
model: slots
scheduler: {max_num_seqs: 4}
step: {base: 20ms}
"""
CONFIG = """\
name: slots
backend: {kind: sim, profile: slots.yaml}
workload: {kind: chat, turns: 1, output_tokens: 10, think: 0, system_tokens: 0, input_tokens: 8}
load: {concurrency: 4, duration: 2s}
cost: {gpu_hour: 2}
"""

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "slots.yaml").write_text(PROFILE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_the_known_limit_is_found(run_harness: Cli, place: Path) -> None:
    done = run_harness("capacity", "config.yaml", "--slo", "e2e.mean < 275ms", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["holds"] == 5
    assert found["breaks"] == 6
    assert found["confirmed"]
    assert found["answer"].startswith("5 sessions hold it (6 ")
    assert found["cost"]["per_session"] > 0
    seeds = [look["seed"] for probe in found["probes"] for look in probe["looks"]]
    assert len(set(seeds)) == len(seeds)
    assert found["probes"][-1]["kind"] == "confirm"
    (folder,) = (place / "results").iterdir()
    assert json.loads((folder / "capacity.json").read_text()) == found
    assert "5 sessions hold it" in (folder / "capacity.md").read_text()


def test_even_the_smallest_load_fails(run_harness: Cli, place: Path) -> None:
    done = run_harness("capacity", "config.yaml", "--slo", "e2e.mean < 100ms", "--start", "2", "-q", cwd=place)
    assert done.returncode == 10, done.stderr
    assert "none holds it" in done.stdout


def test_too_few_runs_stay_undecided(run_harness: Cli, place: Path) -> None:
    words = ("capacity", "config.yaml", "--slo", "e2e.mean < 275ms", "--max-runs", "1", "-q", "--format", "md")
    done = run_harness(*words, cwd=place)
    assert done.returncode == 12, done.stderr
    assert "undecided" in done.stdout


def test_an_open_load_that_is_too_much_fails_early(run_harness: Cli, place: Path) -> None:
    """30 arrivals a second where 20 can be served: the queue grows without end, though no limit is broken yet."""
    words = ("capacity", "open.yaml", "--slo", "e2e.p50 < 5s", "--max-runs", "1", "--json", "-q")
    load = CONFIG.replace("concurrency: 4, duration: 2s", "rate: 30/s, duration: 16s")
    (place / "open.yaml").write_text(load)
    done = run_harness(*words, cwd=place)
    (probe,) = [probe for probe in json.loads(done.stdout)["probes"] if probe["looks"]]
    assert probe["verdict"] == "fails"
    assert "over-saturated" in probe["reason"]


def test_without_an_slo_there_is_no_capacity(run_harness: Cli, place: Path) -> None:
    done = run_harness("capacity", "config.yaml", cwd=place)
    assert done.returncode == 2
    assert "SLO" in done.stderr
    assert not (place / "results").exists()
