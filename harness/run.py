"""One run, as a walk along the house: config -> plan -> load -> records -> metrics -> judge -> report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import registry
from harness.backends.protocol import Launches
from harness.clock import now_ns
from harness.config import BackendConfig, Experiment
from harness.config.load import resolved
from harness.errors import ExitCode
from harness.judge.early import EarlyEnd, early_end
from harness.judge.evaluate import evaluate
from harness.judge.expression import parse_all
from harness.judge.verdict import exit_code
from harness.live.progress import Goal, is_live
from harness.live.view import LiveView
from harness.load.alone import replay_alone
from harness.load.appointment import Appointment
from harness.load.briefing import worker_specs
from harness.load.fleet import Fleet
from harness.load.host import last_words_of
from harness.load.logbook import Logbook
from harness.load.opening import with_secrets
from harness.load.reach import reach
from harness.load.reached import Reached
from harness.load.staffing import staff
from harness.load.stopping import stoppable
from harness.load.wire import IN_PROCESS
from harness.metrics.analysis import Analysis
from harness.metrics.prefix import Planned
from harness.metrics.slowdown import solo_sample
from harness.plan import Plan, make_plan
from harness.plan.reuse import planned_reuse
from harness.records import calibration
from harness.records.folder import RunFolder, write_whole
from harness.records.machine import StealMeter
from harness.records.manifest import WorkerReport
from harness.records.phases import rewrite_phases
from harness.records.snapshot import Snapshot
from harness.report.outputs import Outputs
from harness.telemetry.sampler import Telemetry
from harness.telemetry.source import Engine
from harness.units import NS_PER_S, format_duration

if TYPE_CHECKING:
    from harness.live.serving import Serving


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run: the folder, its figures, and the exit code they mean."""

    folder: RunFolder
    analysis: Analysis
    exit_code: ExitCode


def run(
    experiment: Experiment,
    *,
    out: Path = Path("results"),
    outputs: Outputs | None = None,
    quiet: bool = False,
    serving: Serving | None = None,
    appointment: Appointment | None = None,
) -> Outcome:
    """Run one experiment to its end. Whoever is `serving` is told how it goes.

    By `appointment` the load starts at that instant, and is one shard of the plan where it says so: its figures are
    of that share, so SLOs do not decide its exit code.

    Raises:
        UsageError: something is wrong with what was asked; nothing was sent.
        TargetError: the target cannot be reached or used; nothing is left behind.
    """
    check(experiment)
    plan = make_plan(experiment)
    appointment = appointment or Appointment()
    appointment.check(plan)
    with _new_folder(out, experiment.name) as folder, _launched(experiment, folder) as (params, engine):
        logbook = Logbook(folder, plan)
        most, in_process = appointment.most_workers(plan), params.url is None
        with staff(experiment.load, most, in_process=in_process) as fleet:  # they import while we reach the target
            reached = reach(experiment, params, prepare=True)
            if engine is not None:
                reached.target.pid, fleet.watch = engine.pid, engine.ended
            write_whole(folder.experiment, resolved(experiment).encode())
            logbook.open(reached, appointment)
            specs = worker_specs(folder, plan, params, reached, fleet.size, appointment)
            loaded = fleet.brief(specs)
            if loaded is not None:
                reached = _watched(loaded, fleet, folder)
                logbook.loaded(reached)
            steal = StealMeter()
            goal = _goal(plan, reached, appointment, workers=fleet.size)
            if serving is not None:
                serving.describe(folder.id, goal)
            with _telemetry(experiment, params, reached, folder) as telemetry:
                at_ns, early = appointment.start_ns(), early_end(folder, shard=appointment.shard is not None)
                reports = _play(fleet, plan, goal, telemetry, serving, early, logbook, quiet=quiet, at_ns=at_ns)
            stolen, facts = steal.share(), fleet.facts()
        if fleet.engine_ended is not None:
            _mourn(fleet.engine_ended, reports)
        logbook.close(reports, facts, t0_ns=fleet.t0_ns, stolen=stolen)
        if experiment.load.solo and not (logbook.manifest.interrupted or fleet.engine_ended or appointment.shard):
            sample = solo_sample(evaluate(folder), experiment.load.solo)
            replay_alone(folder, specs[0], sample, limit_s=experiment.load.solo_for, watch=fleet.watch, quiet=quiet)
    return finish(folder, outputs, planned_reuse(plan))


def check(experiment: Experiment) -> None:
    """Whether all that an experiment is to be judged by can be understood: a typing error costs no run.

    Raises:
        ExpressionError: one of its `slo` or `gate` is wrong.
    """
    parse_all([*experiment.slo, *experiment.gate])


def finish(folder: RunFolder, outputs: Outputs | None = None, planned: Planned | None = None) -> Outcome:
    """From the records of a run to its outcome, with the reports that were asked for. `planned`: see `conclude`.

    Raises:
        ResultsError: the folder cannot be read or written.
    """
    analysis = conclude(folder, planned)
    (outputs or Outputs()).write(analysis)
    return Outcome(folder=folder, analysis=analysis, exit_code=_exit_code(analysis))


def _exit_code(analysis: Analysis) -> ExitCode:
    manifest, summary = analysis.manifest, analysis.summary
    if manifest.interrupted:
        return ExitCode.INTERRUPTED
    if manifest.shard is not None:
        return ExitCode.INVALID if summary.validity.verdict == "invalid" else ExitCode.PASSED
    return exit_code(summary)


def conclude(folder: RunFolder, planned: Planned | None = None) -> Analysis:
    """From the records of a run to its verdicts: analyse, judge, and write summary and report. `planned` is what the
    plan lets a prefix cache hold, where the plan is at hand.

    Raises:
        ResultsError: the folder cannot be read or written.
    """
    from harness.metrics.summary import to_json
    from harness.report.html import HtmlReport

    analysis = evaluate(folder, planned)
    folder.write_manifest(analysis.manifest)
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
        if not any(path.stat().st_size for path in folder.records()):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


@contextmanager
def _launched(experiment: Experiment, folder: RunFolder) -> Iterator[tuple[BackendConfig, Launches | None]]:
    """The target, up: started by us where the config says so, and stopped again."""
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    with backend.launch(folder.path / "engine.log") as params:
        yield params, backend if isinstance(backend, Launches) else None


def _watched(reached: Reached, fleet: Fleet, folder: RunFolder) -> Reached:
    """The engine that a worker has loaded and reached: from now on its end is noticed."""
    reached.target.pid = fleet.pids[0]
    fleet.watch = lambda: last_words_of(fleet.lost(), reached.target.engine, folder.path)
    return reached


def _telemetry(experiment: Experiment, params: BackendConfig, reached: Reached, folder: RunFolder) -> Telemetry:
    """What is sampled beside the load, from now on; it is written as soon as the load has a start."""
    endpoint, _ = with_secrets(reached.endpoint, params)
    engine = Engine(
        url="" if endpoint.url == IN_PROCESS else endpoint.url,
        headers=endpoint.headers,
        verify=params.verify,
        pid=reached.target.pid,
        simulated=reached.target.simulated,
    )
    return Telemetry(experiment.telemetry, engine, folder.telemetry)


def _play(
    fleet: Fleet,
    plan: Plan,
    goal: Goal,
    telemetry: Telemetry,
    serving: Serving | None,
    early: EarlyEnd,
    logbook: Logbook,
    *,
    quiet: bool,
    at_ns: int | None,
) -> list[WorkerReport]:
    """Run the load with the live view. Ctrl-C drains, a second one stops; both keep what was measured."""
    with LiveView(goal, quiet=quiet, page=serving.page if serving else None) as view:
        if at_ns is not None:
            view.say(f"ready; the load starts in {format_duration(max(0, at_ns - now_ns()) / NS_PER_S)}")

        def tick(snapshots: list[Snapshot], t_ns: int) -> None:
            telemetry.start(fleet.t0_ns)
            logbook.look(t_ns)
            view.update(snapshots, t_ns, telemetry.latest())
            if serving is not None:
                serving.update(snapshots)
            if (words := early.ended(snapshots, t_ns)) is not None:
                view.say(words)
                fleet.stop()

        with stoppable(fleet, view.say):
            return early.noted(fleet.play(tick, drain_s=plan.experiment.load.drain, at_ns=at_ns))


def _mourn(words: str, reports: list[WorkerReport]) -> None:
    """The engine we started ended before the load did: tell its last words, and make it a finding."""
    print(words, file=sys.stderr, flush=True)
    message = f"the run was cut short: {words.partition(';')[0]}"
    remedy = "read the end of engine.log in the run's folder"
    reports[0].findings.append({"code": "engine_died", "severity": "error", "message": message, "remedy": remedy})
    for report in reports:
        report.interrupted = False  # nobody interrupted it


def _goal(plan: Plan, reached: Reached, appointment: Appointment, *, workers: int) -> Goal:
    """What whoever watches is told beside the figures."""
    target = reached.target
    slos = parse_all(plan.experiment.slo)
    told = [slo for slo in slos if slo.operator in ("<", "<=") and not slo.labels and is_live(slo.metric, slo.quantile)]
    ceiling = calibration.ceiling(calibration.read())
    return Goal(
        name=plan.experiment.name,
        target=" · ".join(part for part in (target.engine, target.model, target.url) if part),
        sessions=appointment.sessions(plan),
        duration_s=None if plan.start_limit_ns is None else plan.start_limit_ns / NS_PER_S,
        limits={slo.metric + (f".{slo.stat}" if slo.stat else ""): slo.limit for slo in told},
        later=tuple(slo.text for slo in slos if slo not in told),
        ceiling=ceiling * workers if ceiling else None,
        simulated=target.simulated,
    )
