"""What studies make of the runs they are given: runs made by hand take the place of those of a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from harness.config import Experiment
from harness.config.load import resolved
from harness.errors import ExitCode, TargetError, UsageError
from harness.judge.expression import parse_all
from harness.judge.slo import judge_slos
from harness.metrics.analysis import Analysis
from harness.metrics.summarise import analyse_records
from harness.metrics.summary import Finding, Validity
from harness.metrics.terms import Terms
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record
from harness.study import ab as ab_study
from harness.study import capacity as capacity_study
from harness.study import sweep as sweep_study
from harness.study.sweep_told import sweep_csv, sweep_markdown, sweep_text
from harness.study.told import ab_markdown, ab_text, capacity_markdown, capacity_text

MS = 1_000_000
CONFIG: dict[str, Any] = {
    "name": "n",
    "backend": {"kind": "openai", "url": "http://127.0.0.1:9/v1"},
    "workload": {"kind": "chat", "turns": 1},
    "load": {"concurrency": 4, "duration": "10s"},
    "cost": {"gpu_hour": 2.0},
}
Answer = Callable[[Experiment, int], tuple[float, str | None]]  # ttft in ms, and the code of what makes it invalid


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(CONFIG | changes)


def analysis(one: Experiment, ttft: float, fault: str | None, *, streamed: bool = True) -> Analysis:
    rng = np.random.default_rng(one.seed)
    records = []
    for index in range(100):
        at = index * 100 * MS
        first = at + int(rng.normal(ttft, ttft / 50) * MS)
        end = first + 50 * MS
        records.append(
            Record(
                id=f"r{index}", session=f"s{index:07d}", node="n", kind="chat", intended_ns=at, sent_ns=at,
                first_token_ns=first if streamed else None, last_token_ns=end, end_ns=end, input_tokens=10,
                output_tokens=6, tokens_source="server", clock="kernel",
            )
        )  # fmt: skip
    load = one.load
    terms = Terms(concurrency=load.concurrency, rate=load.rate, cost={"gpu_hour": 2.0})
    found = analyse_records(records, Manifest(run_id="r", name="n", seed=one.seed, started_at="", ended_at="x"), terms)
    found.summary.slo = judge_slos(parse_all(one.slo), found)
    found.summary.validity = Validity()
    if fault is not None:
        finding = Finding(code=fault, severity="error", message=f"{fault} happened")
        found.summary.validity = Validity(verdict="invalid", findings=[finding])
    return found


def runs(monkeypatch: pytest.MonkeyPatch, study: Any, answer: Answer, **more: Any) -> list[Experiment]:
    """Let `study` run against `answer(experiment, number of the run)`; returns what it asked for."""
    asked: list[Experiment] = []

    def run(one: Experiment, *, out: Path, quiet: bool) -> Any:
        asked.append(one)
        folder = RunFolder.create(out, one.name)
        folder.experiment.write_text(resolved(one))
        folder.summary.write_text("{}")
        folder.write_manifest(Manifest(run_id="r", name="n", seed=one.seed, started_at="", ended_at="x"))
        ttft, fault = answer(one, len(asked) - 1)
        return SimpleNamespace(
            folder=folder, analysis=analysis(one, ttft, fault, **more), exit_code=ExitCode.PASSED
        )  # fmt: skip

    monkeypatch.setattr(study, "run", run)
    return asked


def arm(base: float, candidate: float) -> Answer:
    return lambda one, _: (base if one.name == "n" else candidate, None)


CANDIDATE = {"name": "candidate"}


def test_pairs_alternate_and_share_their_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = runs(monkeypatch, ab_study, arm(100, 112))
    found = ab_study.ab(experiment(seed=7), experiment(**CANDIDATE, seed=9), pairs=4, out=tmp_path)
    assert found.exit_code == 11
    assert [(one.name, one.seed) for one in asked] == [
        *(("n", 7), ("candidate", 7), ("candidate", 8), ("n", 8)),
        *(("n", 9), ("candidate", 9), ("candidate", 10), ("n", 10)),
    ]
    assert all(one.backend.launch is None for one in asked)
    assert "✗ regression" in ab_text(found)
    assert "| ttft.p50 |" in ab_markdown(found)


def test_no_difference_is_no_worse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, ab_study, arm(100, 100))
    found = ab_study.ab(experiment(), experiment(**CANDIDATE), pairs=3, out=tmp_path, one_at_a_time=True)
    assert found.exit_code == 0
    assert found.metrics[0].verdict == "same"


def test_invalid_pairs_are_made_up_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, ab_study, lambda _, number: (100, "loop_lag" if number in (1, 2) else None))
    found = ab_study.ab(experiment(), experiment(**CANDIDATE), pairs=3, out=tmp_path)
    assert (found.exit_code, found.pairs, found.left_out) == (0, 3, 2)
    assert "left out" in ab_text(found)


def test_a_busy_machine_gives_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = runs(monkeypatch, ab_study, lambda *_: (100, "loop_lag"))
    found = ab_study.ab(experiment(), experiment(**CANDIDATE), pairs=3, out=tmp_path)
    assert found.exit_code == 4
    assert len(asked) == 4
    assert "too busy" in ab_text(found)


def test_a_target_that_fails_is_not_tried_until_it_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = runs(monkeypatch, ab_study, lambda one, _: (100, "error_rate" if one.name == "candidate" else None))
    found = ab_study.ab(experiment(), experiment(**CANDIDATE), pairs=3, out=tmp_path)
    assert found.exit_code == 4
    assert len(asked) == 2
    assert any("candidate is unfit" in note for note in found.notes)


def test_answers_that_are_not_streamed_are_judged_by_e2e(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, ab_study, arm(100, 100), streamed=False)
    found = ab_study.ab(experiment(), experiment(**CANDIDATE), pairs=3, out=tmp_path)
    assert [one.term for one in found.metrics if one.gated] == ["e2e.p50"]
    assert found.exit_code == 0


@pytest.mark.parametrize(("options", "words"), [({"pairs": 2}, "too few"), ({"margin": 1.5}, "margin")])
def test_senseless_tests_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ab_study.ab(experiment(), experiment(**CANDIDATE), out=tmp_path, **options)
    assert not list(tmp_path.iterdir())


SLO = {"slo": ["ttft.p50 < 200ms"]}


def by_load(limit: float) -> Answer:
    """Up to `limit` sessions wait 100 ms, more wait 300."""
    return lambda one, _: (100 if (one.load.concurrency or one.load.rate or 0) <= limit else 300, None)


def test_capacity_of_sessions_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = runs(monkeypatch, capacity_study, by_load(24))
    found = capacity_study.capacity(experiment(**SLO), out=tmp_path)
    assert (found.holds, found.breaks, found.confirmed, found.exit_code) == (23, 25, True, 0)  # to within 10 %
    assert found.answer == "23 sessions hold it (25 fail), 95 %"
    assert len({one.seed for one in asked}) == len(asked)
    assert {one.load.duration for one in asked} == {5.0}
    assert "cost at 23 sessions" in capacity_text(found)
    assert "confirmed" in capacity_markdown(found)


def test_capacity_of_arrivals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, capacity_study, by_load(3.3))
    found = capacity_study.capacity(experiment(**SLO, load={"rate": "1/s", "sessions": 50}), out=tmp_path)
    assert found.holds == pytest.approx(3.3, rel=0.1)
    assert found.unit == "sessions/s"


def test_invalid_looks_decide_nothing_and_failing_targets_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, capacity_study, lambda *_: (100, "loop_lag"))
    found = capacity_study.capacity(experiment(**SLO), out=tmp_path)
    assert found.exit_code == 12
    assert all(len(probe.looks) == 3 for probe in found.probes)
    runs(monkeypatch, capacity_study, lambda *_: (100, "error_rate"))
    found = capacity_study.capacity(experiment(**SLO), out=tmp_path)
    assert found.exit_code == 10
    assert "none holds it" in found.answer


def test_the_search_has_an_upper_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, capacity_study, by_load(1e9))
    found = capacity_study.capacity(experiment(**SLO), most=16, out=tmp_path)
    assert (found.holds, found.breaks, found.exit_code) == (16, None, 0)
    assert any("--most" in note for note in found.notes)


def test_too_few_runs_leave_it_undecided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, capacity_study, by_load(24))
    found = capacity_study.capacity(experiment(**SLO), max_runs=5, out=tmp_path)
    assert (found.exit_code, found.confirmed) == (12, False)
    assert "undecided" in found.answer


def test_a_trace_has_no_capacity(tmp_path: Path) -> None:
    trace = experiment(**SLO, load={"arrivals": "trace", "trace": "t", "duration": "1s"})
    with pytest.raises(UsageError, match=r"load\.rate"):
        capacity_study.capacity(trace, out=tmp_path)


def test_sweep_points_stand_on_frontiers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG | {"sweep": {"load.concurrency": [1, 2, 3], "seed": [5]}}))
    faults = {2: "loop_lag"}

    def answer(one: Experiment, _: int) -> tuple[float, str | None]:
        if one.load.concurrency == 3:
            raise TargetError("gone\nfor good")
        return 100.0, faults.get(one.load.concurrency or 0)

    asked = runs(monkeypatch, sweep_study, answer)
    found = sweep_study.sweep(str(config), out=tmp_path)
    good, invalid, failed = found.points
    assert (good.on_speed_frontier, invalid.on_speed_frontier, failed.state) == (True, False, "failed")
    assert failed.error == "gone"
    assert found.exit_code == 3
    assert all(one.sweep is None and one.seed == 5 for one in asked)
    text = sweep_text(found)
    assert "✗ invalid: not on a frontier" in text and "◆" in text
    assert "| load.concurrency |" in sweep_markdown(found)
    assert sweep_csv(found).startswith("load.concurrency,seed,state,")
    assert json.loads((Path(found.folder) / "sweep.json").read_text())["exit_code"] == 3


def test_too_large_a_grid_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    values = list(range(1, 200))
    config.write_text(yaml.safe_dump(CONFIG | {"sweep": {"load.concurrency": values, "seed": values}}))
    with pytest.raises(UsageError, match="points"):
        sweep_study.sweep(str(config), out=tmp_path)


def test_an_ab_test_of_two_servers_tells_their_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs(monkeypatch, ab_study, arm(100, 100))
    other = experiment(**CANDIDATE, backend={"kind": "openai", "url": "http://127.0.0.1:8/v1"})
    told = ab_text(ab_study.ab(experiment(), other, pairs=3, out=tmp_path))
    assert "differs: config · backend.url: http://127.0.0.1:9/v1 → http://127.0.0.1:8/v1" in told
    assert "the two configs are the same" not in told
