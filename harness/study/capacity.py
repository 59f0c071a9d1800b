"""The largest load that holds the SLOs of a config, with confidence, and what it costs there."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from harness.config import Experiment
from harness.errors import ExitCode, UsageError
from harness.judge.look import LOOKS, Held, look
from harness.metrics.analysis import Analysis
from harness.metrics.summary import CostFigures, Rates, SloResult
from harness.records.document import indented
from harness.records.folder import RunFolder, write_whole
from harness.run import check, run
from harness.study.files import CAPACITY
from harness.study.saturation import saturated
from harness.study.search import RESOLUTION, Bracket, Hold, search
from harness.study.target import kept_up
from harness.units import format_number

SCHEMA = 1
LENGTHS = (0.5, 1.0, 2.0)  # of each look, by what the config asks; the first is short, to leave a lost load early
MOST_SESSIONS = 4096
_RANGE = 1024.0  # a rate is looked for between start / 1024 and start x 1024
_TURNS = 4  # sessions for each slot at least, where sessions bound a closed run
_THEIRS = ("error_rate", "all_requests_failed")

Say = Callable[[str], None]
Kind = Literal["search", "confirm"]

assert len(LENGTHS) == LOOKS


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a probe."""

    seed: int
    length: float
    verdict: Held
    reason: str
    validity: str
    slo: list[SloResult]
    folder: str


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One load, looked at up to three times."""

    load: float
    kind: Kind
    verdict: Held
    reason: str
    looks: list[Look]


class CapacityResult(msgspec.Struct, kw_only=True):
    """`holds` is the answer; `breaks` the smallest load found that does not hold. `cost` and `rates` are those of the
    run that confirmed it. Loads are sessions at once, or sessions a second (`unit`)."""

    schema: int = SCHEMA
    name: str
    key: str
    unit: str
    slo: list[str]
    answer: str
    holds: float | None = None
    breaks: float | None = None
    breaks_verdict: Held | None = None
    confirmed: bool = False
    confidence: float = 0.95
    resolution: float = RESOLUTION
    cost: CostFigures | None = None
    rates: Rates | None = None
    probes: list[Probe] = []
    notes: list[str] = []
    simulated: bool = False
    exit_code: int = 0
    folder: str = ""


class Prober:
    """Probes loads one after another, each look with a seed of its own, and remembers them."""

    def __init__(self, experiment: Experiment, out: Path, say: Say, most_runs: int) -> None:
        self.probes: list[Probe] = []
        self.last: Analysis | None = None
        self._experiment = experiment
        self._out = out
        self._say = say
        self._left = most_runs
        self._runs = 0

    def probe(self, load: float) -> Hold:
        """Does this load hold?"""
        return self._looked(load, "search")

    def confirm(self, load: float) -> Hold:
        """The same, asked again."""
        return self._looked(load, "confirm")

    def _looked(self, load: float, kind: Kind) -> Hold:
        looks: list[Look] = []
        for length in LENGTHS:
            if self._runs >= self._left:
                reason = f"{self._left} runs were made and more are not allowed (--max-runs)"
                self.probes.append(Probe(load=load, kind=kind, verdict="undecided", reason=reason, looks=looks))
                raise _Enough(reason)
            looks.append(self._look(load, length))
            if looks[-1].verdict != "undecided":
                break
        probe = Probe(load=load, kind=kind, verdict=looks[-1].verdict, reason=looks[-1].reason, looks=looks)
        self.probes.append(probe)
        again = "confirm " if kind == "confirm" else ""
        self._say(f"  {again}{load:.4g}: {probe.verdict}  ({probe.reason})")
        return probe.verdict

    def _look(self, load: float, length: float) -> Look:
        seed = self._experiment.seed + self._runs
        self._runs += 1
        outcome = run(at(self._experiment, load, length, seed), out=self._out, quiet=True)
        if outcome.exit_code is ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        self.last = outcome.analysis
        verdict, reason = judged(outcome.analysis)
        return Look(
            seed=seed,
            length=length,
            verdict=verdict,
            reason=reason,
            validity=outcome.analysis.summary.validity.verdict,
            slo=outcome.analysis.summary.slo,
            folder=str(outcome.folder.path),
        )


class _Enough(Exception):
    """No more runs may be made."""


def judged(analysis: Analysis) -> tuple[Held, str]:
    """What one run says about its load, and why."""
    summary = analysis.summary
    errors = [finding for finding in summary.validity.findings if finding.severity == "error"]
    theirs = [finding for finding in errors if finding.code in _THEIRS]
    if theirs:
        return "fails", theirs[0].message
    if summary.validity.verdict == "invalid":
        return "undecided", f"invalid: {errors[0].message}" if errors else "invalid"
    if saturated(analysis):
        return "fails", "over-saturated: ttft and requests in flight rise for as long as the load lasts"
    verdict = look(summary.slo)
    worst = next((one for one in summary.slo if one.verdict == "fail"), None) or next(
        (one for one in summary.slo if one.verdict == "inconclusive"), None
    )
    if verdict == "holds":
        return verdict, "all SLOs hold"
    return (
        verdict,
        f"{worst.expr}: {worst.reason or worst.verdict}" if worst else "too near the limit for one of 3 looks",
    )


def at(experiment: Experiment, load: float, length: float, seed: int) -> Experiment:
    """The experiment at another load, made longer or shorter."""
    old = experiment.load
    change: dict[str, object] = {}
    if old.concurrency is not None:
        change["concurrency"] = int(load)
    else:
        change["rate"] = load
    if old.sessions is not None:
        sessions = math.ceil(old.sessions * length)
        change["sessions"] = max(sessions, _TURNS * int(load)) if old.concurrency is not None else sessions
    if old.measured_s is not None:
        change |= {"duration": (old.duration or old.measured_s) * length, "max_duration": None}
    return experiment.model_copy(update={"seed": seed, "load": old.model_copy(update=change)})


def capacity(
    experiment: Experiment,
    *,
    start: float | None = None,
    most: float | None = None,
    max_runs: int = 60,
    out: Path = Path("results"),
    say: Say = lambda _: None,
) -> CapacityResult:
    """Search for the capacity over `load.concurrency` or `load.rate`, whichever the config has.

    Raises:
        UsageError: the config has no SLO or one that is wrong, or neither a concurrency nor a rate.
        TargetError: the server did not start or cannot be used.
    """
    check(experiment)
    load = experiment.load
    if not experiment.slo:
        raise UsageError("capacity needs an SLO to hold", remedy="add slo: to the config, or --slo 'ttft.p95 < 500ms'")
    if load.concurrency is None and load.rate is None:
        raise UsageError("capacity needs load.concurrency or load.rate", remedy="a trace has a load of its own")
    whole = load.concurrency is not None
    first = float(start or load.concurrency or load.rate or 1.0)
    first = float(max(1, round(first))) if whole else first
    ceiling = most or (float(MOST_SESSIONS) if whole else first * _RANGE)
    folder = RunFolder.create(out, f"{experiment.name[:40]}-capacity")
    with kept_up(experiment) as attached:
        prober = Prober(attached, folder.path / "runs", say, max_runs)
        notes = []
        try:
            bracket = search(
                prober.probe,
                prober.confirm,
                start=min(first, ceiling),
                least=1.0 if whole else first / _RANGE,
                most=ceiling,
                whole=whole,
            )
        except _Enough as enough:
            bracket = _so_far(prober.probes)
            notes.append(str(enough))
    result = _result(experiment, bracket, prober, whole=whole, notes=notes, folder=folder)
    write_whole(folder.path / CAPACITY, indented(result) + b"\n")
    return result


def _so_far(probes: list[Probe]) -> Bracket:
    """What is known where the search had to end early."""
    broken = [probe for probe in probes if probe.verdict != "holds"]
    high = min(broken, key=lambda probe: probe.load, default=None)
    held = [probe.load for probe in probes if probe.verdict == "holds" and (high is None or probe.load < high.load)]
    return Bracket(
        holds=max(held, default=None), breaks=high.load if high else None, how=high.verdict if high else None
    )


def _result(
    experiment: Experiment, bracket: Bracket, prober: Prober, *, whole: bool, notes: list[str], folder: RunFolder
) -> CapacityResult:
    last = None if prober.last is None else prober.last.summary
    known = bracket.confirmed and last is not None
    if bracket.confirmed and bracket.breaks is None:
        notes.append("nothing larger was tried: --most sets how far the search goes")
    if last is not None and last.target.simulated:
        notes.append("SIMULATED: says nothing about a real server")
    return CapacityResult(
        name=experiment.name,
        key="load.concurrency" if whole else "load.rate",
        unit="sessions at once" if whole else "sessions/s",
        slo=list(experiment.slo),
        answer=answer(bracket, whole=whole),
        holds=bracket.holds,
        breaks=bracket.breaks,
        breaks_verdict=bracket.how,
        confirmed=bracket.confirmed,
        cost=last.cost if known and last is not None else None,
        rates=last.rates if known and last is not None else None,
        probes=prober.probes,
        notes=notes,
        simulated=last is not None and last.target.simulated,
        exit_code=int(_exit(bracket, prober.probes)),
        folder=str(folder.path),
    )


def _exit(bracket: Bracket, probes: list[Probe]) -> ExitCode:
    if bracket.confirmed:
        return ExitCode.PASSED
    failed = bracket.holds is None and bool(probes) and all(probe.verdict == "fails" for probe in probes)
    return ExitCode.FAILED if failed else ExitCode.INCONCLUSIVE


def answer(bracket: Bracket, *, whole: bool) -> str:
    """`24 sessions hold it (26 fail), 95 %`."""

    def told(load: float) -> str:
        return f"{load:.0f} sessions" if whole else f"{format_number(load)} sessions/s"

    beyond = ""
    if bracket.breaks is not None:
        number = f"{bracket.breaks:.0f}" if whole else format_number(bracket.breaks)
        beyond = f"{number} {'fail' if bracket.how == 'fails' else 'undecided'}"
    if bracket.holds is not None and bracket.confirmed:
        return f"{told(bracket.holds)} hold it ({beyond or 'nothing larger tried'}), 95 %"
    if bracket.holds is not None:
        return f"undecided: {told(bracket.holds)} held it once, without confirmation ({beyond or 'search not ended'})"
    if bracket.breaks is None:
        return "undecided"
    if bracket.how == "fails":
        return f"none holds it: the smallest load tried, {told(bracket.breaks)}, failed"
    return f"undecided: none has held it; the smallest load tried was {told(bracket.breaks)}"
