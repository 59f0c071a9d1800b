"""`harness capacity` against an engine whose limit is known by Little's law.

Two slots, 20 ms a step, 10 tokens an answer: 10 answers a second, however many wait. With N sessions at once an
answer takes N / 10 s, so a mean of 350 ms holds up to 3.5 sessions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

PROFILE = """\
name: slots
model: slots
scheduler: {max_num_seqs: 2}
step: {base: 20ms}
"""
CONFIG = """\
name: slots
backend: {kind: sim, profile: slots.yaml}
workload: {kind: chat, turns: 1, output_tokens: 10, think: 0, system_tokens: 0, input_tokens: 8}
load: {concurrency: 2, duration: 4s}
cost: {gpu_hour: 2}
"""

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "slots.yaml").write_text(PROFILE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def search(run_harness: Cli, place: Path, *words: str) -> tuple[int, dict[str, Any], bool]:
    """The exit code, what was found, and whether runs were spoilt by whatever else this machine does. Such a search
    gets two more chances; the last one counts as it is."""
    for _ in range(3):
        shutil.rmtree(place / "results", ignore_errors=True)
        done = run_harness("capacity", "config.yaml", *words, "--json", cwd=place)
        found = json.loads(done.stdout)
        spoilt = any(look["validity"] == "invalid" for probe in found["probes"] for look in probe["looks"])
        if not spoilt:
            break
    return done.returncode, found, spoilt


def test_the_known_limit_is_found(run_harness: Cli, place: Path) -> None:
    code, found, spoilt = search(run_harness, place, "--slo", "e2e.mean < 350ms")
    assert code == 0
    looks = [look for probe in found["probes"] for look in probe["looks"]]
    assert found["holds"] in ((2, 3) if spoilt else (3,))
    assert found["breaks"] == found["holds"] + 1
    assert found["confirmed"]
    assert found["answer"].startswith(f"{found['holds']:.0f} sessions hold it (")
    assert found["cost"]["per_session"] > 0
    assert len({look["seed"] for look in looks}) == len(looks)
    assert found["probes"][-1]["kind"] == "confirm"
    (folder,) = (place / "results").iterdir()
    assert json.loads((folder / "capacity.json").read_text()) == found
    assert found["answer"].partition(",")[0] in (folder / "capacity.md").read_text()


def test_even_the_smallest_load_fails(run_harness: Cli, place: Path) -> None:
    code, found, _ = search(run_harness, place, "--slo", "e2e.mean < 100ms", "--start", "2")
    assert code == 10
    assert "none holds it" in found["answer"]


def test_too_few_runs_stay_undecided(run_harness: Cli, place: Path) -> None:
    words = ("capacity", "config.yaml", "--slo", "e2e.mean < 350ms", "--max-runs", "1", "-q", "--format", "md")
    done = run_harness(*words, cwd=place)
    assert done.returncode == 12, done.stderr
    assert "undecided" in done.stdout


def test_an_open_load_that_is_too_much_fails_early(run_harness: Cli, place: Path) -> None:
    """20 arrivals a second where 10 can be served: the queue grows without end, though no limit is broken yet."""
    words = ("capacity", "open.yaml", "--slo", "e2e.p50 < 9s", "--max-runs", "1", "--json", "-q")
    (place / "open.yaml").write_text(CONFIG.replace("concurrency: 2, duration: 4s", "rate: 20/s, duration: 12s"))
    done = run_harness(*words, cwd=place)
    (look,) = json.loads(done.stdout)["probes"][0]["looks"]
    assert look["length"] == 0.5
    if look["validity"] == "invalid":  # spoilt by other tests that run beside this one: then nothing is said
        assert look["verdict"] == "undecided"
        return
    assert look["verdict"] == "fails"
    assert "over-saturated" in look["reason"]


def test_without_an_slo_there_is_no_capacity(run_harness: Cli, place: Path) -> None:
    done = run_harness("capacity", "config.yaml", cwd=place)
    assert done.returncode == 2
    assert "SLO" in done.stderr
    assert not (place / "results").exists()
