"""Runs that end before their time: `abort`, and `load.max_duration` with its three looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from harness.config import Experiment
from harness.errors import ExpressionError, ResultsError
from harness.judge.breach import Breach, broken
from harness.judge.early import EarlyEnd, early_end, look_times
from harness.judge.evaluate import evaluate
from harness.judge.expression import parse, parse_all
from harness.judge.look import Held
from harness.metrics.summary import SloResult
from harness.metrics.terms import Terms
from harness.plan import make_plan
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest, WorkerReport
from harness.records.record import Record, encode_record
from harness.records.snapshot import Snapshot
from harness.units import NS_PER_S

MS = 1_000_000


def snapshot(ttfts: list[float], *, failed: int = 0, phase: str = "measure", worker: int = 0) -> Snapshot:
    """Of a worker whose requests took these seconds to their first token."""
    one = Snapshot(worker=worker, t_ns=1, phase=phase, requests_ok=len(ttfts), requests_failed=failed)
    for ttft in ttfts:
        one.ttft.add(ttft)
    return one


def found(text: str, *snapshots: Snapshot) -> str | None:
    breach = Breach([parse(text)])
    breach.found([snapshot([], worker=one.worker) for one in snapshots])
    return breach.found(snapshots)


def test_the_grammar() -> None:
    assert parse("ttft.p95 < 2s abort").abort
    assert parse("error_rate <= 5%  abort ").abort
    assert not parse("ttft.p95 < 2s").abort
    assert parse("ttft.p95 < 2s abort").limit == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "ttft{kind=chat}.p95 < 1s abort",
        "ttft.mean < 1s abort",
        "session.makespan.p95 < 9s abort",
        "rates.requests_per_s > 1 abort",
        "regress(ttft.p50) < 5% abort",
    ],
)
def test_what_cannot_be_watched_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="cannot be watched"):
        parse(text)


def test_a_broken_limit_is_seen_and_told() -> None:
    told = found("ttft.p95 < 1s abort", snapshot([0.5] * 60), snapshot([3.0] * 40, worker=1))
    assert told == "ttft.p95 < 1s abort: broken, 40 of 100 requests (40.0 %) miss it"
    assert found("error_rate < 5% abort", snapshot([0.1] * 50, failed=30)) is not None
    assert found("ttft.p95 < 1s abort", snapshot([0.5] * 60, failed=40)) is not None  # a failure misses every limit


def test_what_may_yet_hold_goes_on() -> None:
    assert found("ttft.p95 < 1s abort", snapshot([0.5] * 90 + [3.0] * 10)) is None  # 10 %: perhaps by chance
    assert found("ttft.p95 < 1s abort", snapshot([3.0] * 80)) is None  # too few for the records to tell p95
    assert found("ttft.p95 < 1s", snapshot([3.0] * 500)) is None  # nobody asked to abort
    assert found("error_rate < 5% abort", snapshot([0.1] * 500, failed=20)) is None


def test_the_warm_up_is_left_out() -> None:
    breach = Breach(parse_all(["ttft.p95 < 1s abort"]))
    cold = [9.0] * 300
    assert breach.found([snapshot(cold, phase="warmup")]) is None
    assert breach.found([snapshot(cold)]) is None  # warm from here on
    assert breach.found([snapshot([*cold, *[0.1] * 200])]) is None
    assert breach.found([snapshot([*cold, *[2.0] * 200])]) is not None


def test_a_limit_that_holds_is_hardly_ever_aborted() -> None:
    """p95 lies at the limit, and is looked at every 25 requests up to 2,000."""
    rng = np.random.default_rng(3)
    aborted = 0
    for _ in range(100):
        breach, values = Breach(parse_all(["ttft.p95 < 1s abort"])), rng.exponential(1 / np.log(20), 2000)
        breach.found([snapshot([])])
        aborted += any(breach.found([snapshot(values[:n].tolist())]) for n in range(100, 2001, 100))
    assert aborted <= 1


def early(held: list[Held], **terms: float) -> EarlyEnd:
    known = {"ramp_s": 1.0, "warmup_s": 4.0, "duration_s": 20.0, "max_duration_s": 80.0} | terms
    return EarlyEnd(Terms(slo=("ttft.p95 < 1s",), **known), lambda: held.pop(0))


def test_looks_are_at_the_first_length_and_between_it_and_the_last() -> None:
    assert look_times(Terms(ramp_s=1, warmup_s=4, duration_s=20, max_duration_s=80)) == [25, 45]
    assert look_times(Terms(duration_s=20)) == []


def test_a_decided_look_ends_the_load() -> None:
    one = early(["undecided", "holds"])
    assert one.ended([], 24 * NS_PER_S) is None
    assert one.ended([], 26 * NS_PER_S) is None
    assert one.ended([], 46 * NS_PER_S) == "decided early: all SLOs hold at look 2 of 3"
    assert one.ended([], 47 * NS_PER_S) is None
    (report,) = one.noted([WorkerReport(worker=0, interrupted=True)])
    assert not report.interrupted
    assert report.findings[0]["code"] == "decided"


def test_an_undecided_run_goes_on_to_its_end() -> None:
    one = early(["undecided", "undecided"])
    assert [one.ended([], second * NS_PER_S) for second in (26, 46, 79)] == [None, None, None]
    (report,) = one.noted([WorkerReport(worker=0, interrupted=True)])
    assert report.interrupted and not report.findings


def test_a_look_at_nothing_is_undecided() -> None:
    def nothing() -> Held:
        raise ResultsError("no records")

    one = EarlyEnd(Terms(slo=("ttft.p95 < 1s",), duration_s=1.0, max_duration_s=9.0), nothing)
    assert one.ended([], 2 * NS_PER_S) is None


def folder(parent: Path, spread: float, **load: object) -> RunFolder:
    """400 requests whose ttft is 300 ms with this spread."""
    run = RunFolder.create(parent, "run")
    rng = np.random.default_rng(5)
    lines = []
    for index, ttft in enumerate(rng.normal(300, spread, 400)):
        at, first = index * 100 * MS, index * 100 * MS + int(ttft * MS)
        one = Record(id=f"r{index}", session=f"s{index}", node="n", intended_ns=at, sent_ns=at, first_token_ns=first,
                     last_token_ns=first + MS, end_ns=first + MS, output_tokens=2, tokens_source="server")  # fmt: skip
        lines.append(encode_record(one) + b"\n")
    run.records_of(0).write_bytes(b"".join(lines))
    run.write_manifest(Manifest(run_id="r", name="n", seed=1, started_at="", ended_at="x"))
    config = {"load": {"rate": 10.0, "duration": 40.0} | load, "slo": ["ttft.p50 < 302ms"]}
    run.experiment.write_text(yaml.safe_dump(config))
    return run


def test_one_look_of_three_must_be_surer(tmp_path: Path) -> None:
    """The 95 % interval ends just below the limit; the wider one of three looks does not."""
    plain, looked = (folder(tmp_path, 60.0, **more) for more in ({}, {"max_duration": 80.0}))
    (once,), (thrice,) = evaluate(plain).summary.slo, evaluate(looked).summary.slo
    assert once.ci95 == thrice.ci95
    assert (once.verdict, thrice.verdict) == ("pass", "inconclusive")
    assert "one of 3 looks" in thrice.reason


def test_an_slo_that_ended_its_run_has_failed() -> None:
    words = "aborted early: ttft.p95 < 1s abort: broken, 96 of 96 requests (100 %) miss it"
    report = WorkerReport(worker=0, findings=[{"code": "aborted", "severity": "warning", "message": words}])
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="", workers=[report])
    unsure = SloResult(expr="ttft.p95 < 1s abort", verdict="inconclusive", reason="too few samples")
    assert (broken(unsure, manifest).verdict, broken(unsure, manifest).reason) == ("fail", words)
    other = SloResult(expr="tpot.p95 < 1s abort", verdict="inconclusive")
    assert broken(other, manifest) == other


def test_by_its_own_config(tmp_path: Path) -> None:
    run = folder(tmp_path, 1.0, max_duration=80.0)
    assert early_end(run).ended([], 41 * NS_PER_S) is not None
    assert early_end(run, shard=True).ended([], 41 * NS_PER_S) is None


def experiment(**load: object) -> Experiment:
    base = {"name": "n", "backend": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}, "workload": {"kind": "chat"}}
    return Experiment.model_validate(json.loads(json.dumps(base | {"load": {"rate": "5/s"} | load})))


def test_the_plan_is_as_long_as_the_run_may_be() -> None:
    short, long = make_plan(experiment(duration="10s")), make_plan(experiment(duration="10s", max_duration="40s"))
    assert (short.start_limit_ns, long.start_limit_ns) == (10 * NS_PER_S, 40 * NS_PER_S)
    assert short.sha256 != long.sha256


@pytest.mark.parametrize("load", [{"max_duration": "10s"}, {"duration": "20s", "max_duration": "10s"}])
def test_a_longest_length_needs_a_shorter_one(load: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="must be longer than duration"):
        experiment(**load)
