"""Paired A/B: two configs on one machine in one job, run in pairs in the order ABBA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from harness.config import Experiment
from harness.config.load import resolved
from harness.errors import ExitCode, UsageError
from harness.judge.likeness import Difference, between_configs, between_loads
from harness.judge.paired import (
    ASSUMED_SPREAD,
    LEAST_PAIRS,
    MOST_GATED,
    Measured,
    Pair,
    could_see,
    judge_pairs,
    overall,
)
from harness.judge.term import Term, term
from harness.metrics.analysis import Analysis
from harness.records.document import indented
from harness.records.folder import RunFolder, write_whole
from harness.run import check, run
from harness.study.files import AB
from harness.study.target import kept_up
from harness.units import format_share

SCHEMA = 1
GATED = ("ttft.p50", "tpot.p50")
ADVISORY = (
    *("ttft.p95", "tpot.p95", "e2e.p50", "session.makespan.p50"),
    *("rates.output_tokens_per_s", "rates.requests_per_s", "output_tokens.mean"),
)

Arm = Literal["base", "candidate"]
Say = Callable[[str], None]


class PairRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Where the two runs of a pair lie, and which came first."""

    seed: int
    first: Arm
    base: str
    candidate: str


class AbResult(msgspec.Struct, kw_only=True):
    """What an A/B test found. `could_see_before` is what this many pairs could see at the assumed spread."""

    schema: int = SCHEMA
    base: str
    candidate: str
    pairs: int
    margin: float
    could_see_before: float
    assumed_spread: float = ASSUMED_SPREAD
    metrics: list[Measured]
    runs: list[PairRuns]
    left_out: int = 0
    differences: list[Difference]
    simulated: bool = False
    notes: list[str] = []
    exit_code: int = 0
    folder: str = ""


class Trial:
    """One A/B test, as it goes on."""

    def __init__(self, arms: dict[Arm, Experiment], folder: RunFolder, say: Say) -> None:
        self.runs: list[PairRuns] = []
        self.analyses: list[dict[Arm, Analysis]] = []
        self.left_out = 0
        self.unfit: str | None = None
        self._arms = arms
        self._folder = folder
        self._say = say

    def play(self, pairs: int) -> None:
        """Run until there are that many valid pairs, or as many again have been left out, or an arm proves unfit."""
        attempt = 0
        while len(self.runs) < pairs and self.left_out <= pairs and self.unfit is None:
            self._pair(attempt, "base" if attempt % 2 == 0 else "candidate", pairs)
            attempt += 1

    def _pair(self, attempt: int, first: Arm, pairs: int) -> None:
        second: Arm = "candidate" if first == "base" else "base"
        done: dict[Arm, Analysis] = {}
        places: dict[Arm, str] = {}
        seed = self._arms["base"].seed + attempt
        for arm in (first, second):
            experiment = self._arms[arm].model_copy(update={"seed": seed})
            outcome = run(experiment, out=self._folder.path / "runs", quiet=True)
            if outcome.exit_code is ExitCode.INTERRUPTED:
                raise KeyboardInterrupt
            summary = outcome.analysis.summary
            if summary.validity.verdict == "invalid":
                errors = [finding for finding in summary.validity.findings if finding.severity == "error"]
                self._say(f"  {arm} of pair {len(self.runs) + 1} is invalid: {errors[0].message if errors else ''}")
                if any(finding.code in _THEIRS for finding in errors):
                    self.unfit = f"the {arm} is unfit: {errors[0].message}"
                self.left_out += 1
                return
            done[arm], places[arm] = outcome.analysis, str(outcome.folder.path)
        self.analyses.append(done)
        self.runs.append(PairRuns(seed=seed, first=first, base=places["base"], candidate=places["candidate"]))
        self._say(f"  pair {len(self.runs)} of {pairs}: {self._told(done)}")

    def _told(self, done: dict[Arm, Analysis]) -> str:
        """The gated metrics of a pair in a few words."""
        parts = []
        for name in GATED:
            base, candidate = (term(name).of(done[arm]).value for arm in ("base", "candidate"))
            if base and candidate:
                parts.append(f"{name} {'+' if candidate >= base else '−'}{format_share(abs(candidate / base - 1))}")
        return " · ".join(parts) or "done"

    def pairs_of(self, wanted: Term) -> list[Pair]:
        """A metric's figures, pair by pair."""
        return [
            Pair(base=wanted.of(done["base"]).value, candidate=wanted.of(done["candidate"]).value)
            for done in self.analyses
        ]


# Findings that are the target's own doing: another try would only hide them.
_THEIRS = ("error_rate", "all_requests_failed", "no_requests")


def ab(
    base: Experiment,
    candidate: Experiment,
    *,
    pairs: int = 8,
    margin: float = 0.03,
    metrics: Sequence[str] = (),
    out: Path = Path("results"),
    one_at_a_time: bool = False,
    say: Say = lambda _: None,
) -> AbResult:
    """Run base and candidate in interleaved pairs and judge.

    Both servers that configs launch stay up through all pairs; with `one_at_a_time` each run starts its own.

    Raises:
        UsageError: an SLO that is wrong, different loads, too few pairs, or more than three metrics to gate.
        TargetError: a server did not start or cannot be used.
    """
    for experiment in (base, candidate):
        check(experiment)
    configs = [yaml.safe_load(resolved(experiment)) for experiment in (base, candidate)]
    _check(configs, pairs, margin, metrics)
    wanted = {one.name: one for one in map(term, (*metrics, *GATED, *ADVISORY))}  # a typing error costs no run
    metrics = [term(name).name for name in metrics]
    before = could_see(ASSUMED_SPREAD, pairs, margin)
    say(
        f"{pairs} pairs, margin {format_share(margin)}: can see +{format_share(before)}"
        f" where pairs differ by {format_share(ASSUMED_SPREAD)} (assumed)"
    )
    folder = RunFolder.create(out, f"{base.name[:40]}-ab")
    with ExitStack() as stack:
        arms: dict[Arm, Experiment] = {"base": base, "candidate": candidate}
        if not one_at_a_time:
            arms = {arm: stack.enter_context(kept_up(experiment)) for arm, experiment in arms.items()}
        trial = Trial(arms, folder, say)
        trial.play(pairs)
    measured = _judged(trial, metrics, wanted, margin)
    result = AbResult(
        base=base.name,
        candidate=candidate.name,
        pairs=len(trial.runs),
        margin=margin,
        could_see_before=before,
        metrics=measured,
        runs=trial.runs,
        left_out=trial.left_out,
        differences=[*_addresses(*configs), *between_configs(*configs)],
        simulated=any(done[arm].summary.target.simulated for done in trial.analyses for arm in done),
        folder=str(folder.path),
    )
    _conclude(result, trial, pairs)
    write_whole(folder.path / AB, indented(result) + b"\n")
    return result


def _judged(trial: Trial, metrics: Sequence[str], every: dict[str, Term], margin: float) -> list[Measured]:
    """What was asked for is gated, known or not. By default what is known of `GATED` is, or e2e: an answer that is
    not streamed has neither ttft nor tpot."""
    pairs = {name: trial.pairs_of(one) for name, one in every.items()}
    known = {
        name
        for name, found in pairs.items()
        if any(pair.base is not None or pair.candidate is not None for pair in found)
    }
    gated = list(metrics) or [name for name in GATED if name in known] or ["e2e.p50"]
    names = [*gated, *(name for name in every if name in known and name not in gated)]
    return judge_pairs([(every[name], name in gated) for name in names], [pairs[name] for name in names], margin)


def _addresses(base: dict[str, Any], candidate: dict[str, Any]) -> list[Difference]:
    """Two servers that run already differ in their address, perhaps in nothing else that a config tells."""
    ours, theirs = ((config.get("backend") or {}).get("url") for config in (base, candidate))
    return [Difference(where="config", what="backend.url", base=ours, other=theirs)] if ours != theirs else []


def _check(configs: Sequence[Any], pairs: int, margin: float, metrics: Sequence[str]) -> None:
    apart = between_loads(*configs)
    if apart:
        words = "; ".join(difference.told() for difference in apart[:4])
        raise UsageError(
            f"base and candidate ask for different loads: {words}", remedy="give both the same workload and load"
        )
    if pairs < LEAST_PAIRS:
        raise UsageError(f"{pairs} pairs are too few for any verdict", remedy="give --pairs 8")
    if not 0 <= margin < 1:
        raise UsageError(f"a margin of {margin:g} makes no sense", remedy="give --margin 3%")
    if len(metrics) > MOST_GATED:
        raise UsageError(
            f"{len(metrics)} metrics to gate are too many: each takes from the power of the others",
            remedy=f"give --metric at most {MOST_GATED} times; the rest is shown anyway",
        )


def _conclude(result: AbResult, trial: Trial, pairs: int) -> None:
    """The exit code, and what else is to be known."""
    if trial.unfit is not None:
        result.notes.append(trial.unfit)
    elif result.pairs < pairs:
        result.notes.append(f"only {result.pairs} of {pairs} pairs were valid: this machine is too busy to judge")
    elif trial.left_out:
        result.notes.append(f"{trial.left_out} pairs with an invalid run were left out and made up for")
    if result.simulated:
        result.notes.append("SIMULATED: says nothing about a real server")
    enough = trial.unfit is None and result.pairs >= pairs
    result.exit_code = int(overall(result.metrics) if enough else ExitCode.INVALID)
