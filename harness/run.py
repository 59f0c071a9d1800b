"""One run, as a walk along the house: config -> plan -> load -> records -> metrics -> judge -> report."""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from harness import __version__, registry
from harness.backends.protocol import Launches
from harness.config import BackendConfig, Experiment
from harness.config.load import resolved
from harness.errors import ExitCode
from harness.judge.evaluate import evaluate
from harness.judge.expression import parse_all
from harness.judge.verdict import exit_code
from harness.live.progress import Goal
from harness.live.view import LiveView
from harness.load.fleet import Fleet, auto_workers
from harness.load.messages import WorkerSpec
from harness.load.opening import with_secrets
from harness.load.reach import Reached, reach
from harness.metrics.analysis import Analysis
from harness.plan import Plan, make_plan
from harness.records import calibration
from harness.records.folder import RunFolder, write_whole
from harness.records.machine import StealMeter, machine, packages
from harness.records.manifest import Manifest, WorkerReport
from harness.records.phases import rewrite_phases
from harness.records.snapshot import Snapshot
from harness.report.outputs import Outputs
from harness.telemetry.sampler import Telemetry
from harness.telemetry.source import Engine

if TYPE_CHECKING:
    from harness.live.exporter import Exporter


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run: the folder, its figures, and the exit code they mean."""

    folder: RunFolder
    analysis: Analysis
    exit_code: ExitCode

    def tell(self, *, to_stderr: bool) -> None:
        """The summary for people, on stdout or stderr."""
        from rich.console import Console

        from harness.report.terminal import TerminalReport

        TerminalReport().show(self.analysis, Console(stderr=to_stderr, highlight=False))


def run(
    experiment: Experiment,
    *,
    out: Path = Path("results"),
    outputs: Outputs | None = None,
    quiet: bool = False,
    exporter: Exporter | None = None,
) -> Outcome:
    """Run one experiment to its end. An `exporter` is told how it goes.

    Raises:
        UsageError: something is wrong with what was asked; nothing was sent.
        TargetError: the target cannot be reached or used; nothing is left behind.
    """
    parse_all([*experiment.slo, *experiment.gate])  # a typing error costs no run
    plan = make_plan(experiment)
    with _new_folder(out, experiment.name) as folder, _launched(experiment, folder) as (params, engine):
        size = auto_workers(experiment.load.workers, experiment.load.concurrency)
        with Fleet(size) as fleet:  # the workers import while we reach the target
            reached = reach(experiment, params, prepare=True)
            if engine is not None:
                reached.target.pid, fleet.watch = engine.pid, engine.ended
            manifest = _manifest(folder, plan, reached)
            write_whole(folder.experiment, resolved(experiment).encode())
            folder.write_manifest(manifest)
            fleet.brief(_specs(folder, experiment, params, reached, size))
            steal = StealMeter()
            if exporter is not None:
                exporter.describe(folder.id, _goal(plan, reached))
            with _telemetry(experiment, params, reached, folder) as telemetry:
                reports = _play(fleet, plan, reached, telemetry, exporter, quiet=quiet)
            stolen = steal.share()
    if fleet.engine_ended is not None:
        _mourn(fleet.engine_ended, reports)
    manifest.clock["t0_monotonic_ns"] = fleet.t0_ns
    _close(folder, manifest, plan, reports, stolen)
    analysis = conclude(folder)
    (outputs or Outputs()).write(analysis)
    code = ExitCode.INTERRUPTED if manifest.interrupted else exit_code(analysis.summary)
    return Outcome(folder=folder, analysis=analysis, exit_code=code)


def conclude(folder: RunFolder) -> Analysis:
    """From the records of a run to its verdicts: analyse, judge, and write summary and report.

    Raises:
        ResultsError: the folder cannot be read or written.
    """
    from harness.metrics.summary import to_json
    from harness.report.html import HtmlReport

    analysis = evaluate(folder)
    rewrite_phases(folder, analysis.phases())
    write_whole(folder.summary, to_json(analysis.summary) + b"\n")
    page = HtmlReport().render(analysis)
    write_whole(folder.report, page.encode() if isinstance(page, str) else page)
    return analysis


@contextmanager
def _new_folder(out: Path, name: str) -> Iterator[RunFolder]:
    """The run's folder. It goes again where nothing was measured."""
    folder = RunFolder.create(out, name)
    try:
        yield folder
    except BaseException:
        if not folder.records():
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


@contextmanager
def _launched(experiment: Experiment, folder: RunFolder) -> Iterator[tuple[BackendConfig, Launches | None]]:
    """The target, up: started by us where the config says so, and stopped again."""
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    with backend.launch(folder.path / "engine.log") as params:
        yield params, backend if isinstance(backend, Launches) else None


def _manifest(folder: RunFolder, plan: Plan, reached: Reached) -> Manifest:
    experiment = plan.experiment
    return Manifest(
        run_id=folder.id,
        name=experiment.name,
        seed=experiment.seed,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        planned_sessions=plan.sessions,
        warmup_sessions=plan.warmup_sessions,
        harness_version=__version__,
        machine=machine(),
        packages=packages(),
        target=msgspec.to_builtins(reached.target),
        settings={"keeps_connections": reached.keeps_connections},
        calibration=calibration.read(),
        text_calibration=msgspec.to_builtins(reached.calibration),
        clock={"kernel_stamps": experiment.load.kernel_stamps and experiment.load.wire == "harness"},
    )


def _specs(
    folder: RunFolder, experiment: Experiment, params: BackendConfig, reached: Reached, size: int
) -> list[WorkerSpec]:
    """What each worker is told. All of them share one nonce, so that shared prompts stay shared."""
    nonce = secrets.token_hex(8) if experiment.workload.nonce else ""
    asked = experiment.model_copy(update={"backend": params})
    return [
        WorkerSpec(
            experiment=asked.model_dump(mode="json"),
            shard=shard,
            shards=size,
            target=reached.target,
            endpoint=reached.endpoint,
            run_id=folder.id.rsplit("-", 1)[-1],
            records_path=str(folder.records_of(shard)),
            text_calibration=msgspec.to_builtins(reached.calibration),
            run_nonce=nonce,
            warm_connections=reached.keeps_connections,
        )
        for shard in range(size)
    ]


def _telemetry(experiment: Experiment, params: BackendConfig, reached: Reached, folder: RunFolder) -> Telemetry:
    """What is sampled beside the load, from now on; it is written as soon as the load has a start."""
    endpoint, _ = with_secrets(reached.endpoint, params)
    engine = Engine(
        url=endpoint.url,
        headers=endpoint.headers,
        verify=params.verify,
        pid=reached.target.pid,
        simulated=reached.target.simulated,
    )
    return Telemetry(experiment.telemetry, engine, folder.telemetry)


def _play(
    fleet: Fleet, plan: Plan, reached: Reached, telemetry: Telemetry, exporter: Exporter | None, *, quiet: bool
) -> list[WorkerReport]:
    """Run the load with the live view. Ctrl-C drains, a second one stops; both keep what was measured."""
    with LiveView(_goal(plan, reached), quiet=quiet) as view:

        def tick(snapshots: list[Snapshot], t_ns: int) -> None:
            telemetry.start(fleet.t0_ns)
            view.update(snapshots, t_ns)
            if exporter is not None:
                exporter.update(snapshots)

        def interrupted(_signal: int, _frame: FrameType | None) -> None:
            fleet.stop()
            view.say("stopping: answers under way may end; Ctrl-C again stops now")

        def ended(_signal: int, _frame: FrameType | None) -> None:
            fleet.stop()
            fleet.stop()

        previous = signal.signal(signal.SIGINT, interrupted), signal.signal(signal.SIGTERM, ended)
        try:
            return fleet.play(tick, drain_s=plan.experiment.load.drain)
        finally:
            signal.signal(signal.SIGINT, previous[0])
            signal.signal(signal.SIGTERM, previous[1])


def _mourn(words: str, reports: list[WorkerReport]) -> None:
    """The engine we started ended before the load did: tell its last words, and make it a finding."""
    print(words, file=sys.stderr, flush=True)
    message = f"the run was cut short: {words.partition(';')[0]}"
    remedy = "read the end of engine.log in the run's folder"
    reports[0].findings.append({"code": "engine_died", "severity": "error", "message": message, "remedy": remedy})
    for report in reports:
        report.interrupted = False  # nobody interrupted it


def _goal(plan: Plan, reached: Reached) -> Goal:
    target = reached.target
    return Goal(
        name=plan.experiment.name,
        target=" · ".join(part for part in (target.engine, target.model, target.url) if part),
        sessions=plan.sessions,
        duration_s=None if plan.start_limit_ns is None else plan.start_limit_ns / 1e9,
        limits={
            f"{slo.metric}.{slo.stat}": slo.limit
            for slo in parse_all(plan.experiment.slo)
            if slo.quantile and slo.operator in ("<", "<=") and not slo.labels
        },
        simulated=target.simulated,
    )


def _close(
    folder: RunFolder, manifest: Manifest, plan: Plan, reports: list[WorkerReport], stolen: float | None
) -> None:
    """Complete the manifest with what was found out while the load ran."""
    manifest.workers = reports
    manifest.interrupted = any(report.interrupted for report in reports)
    manifest.ended_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    manifest.plan_sha256 = plan.sha256
    manifest.machine["steal_share"] = stolen
    folder.write_manifest(manifest)
