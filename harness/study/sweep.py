"""A grid of runs: every combination of the values that the config's `sweep:` gives."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.config import Experiment
from harness.config.load import load, resolved
from harness.errors import ExitCode, HarnessError, ResultsError, UsageError
from harness.judge.evaluate import evaluate
from harness.metrics.summary import Summary
from harness.records.document import indented
from harness.records.folder import RunFolder, write_whole
from harness.run import check, run
from harness.study.files import SWEEP
from harness.study.frontier import frontier

SCHEMA = 1
MOST_POINTS = 10_000

State = Literal["done", "failed"]
Say = Callable[[str], None]


class Point(msgspec.Struct, kw_only=True):
    """One combination. Figures are None where the run could not tell them; `on_...` says that no other valid point is
    at least as good in both figures of that frontier and better in one."""

    values: dict[str, Any]
    experiment_sha256: str
    state: State
    error: str = ""
    resumed: bool = False
    folder: str = ""
    verdict: str = ""
    slo: list[str] = []
    interactivity: float | None = None
    output_tokens_per_s: float | None = None
    ttft_p50: float | None = None
    ttft_p95: float | None = None
    makespan_p50: float | None = None
    cost_per_1m_tokens: float | None = None
    cost_per_session: float | None = None
    on_speed_frontier: bool = False
    on_cost_frontier: bool = False

    @property
    def counts(self) -> bool:
        """Only what can be trusted stands on a frontier."""
        return self.state == "done" and self.verdict != "invalid"


class SweepResult(msgspec.Struct, kw_only=True):
    """All points in the order of the grid: the last path of `sweep:` varies fastest."""

    schema: int = SCHEMA
    name: str
    paths: list[str]
    points: list[Point]
    currency: str = "USD"
    simulated: bool = False
    exit_code: int = 0
    folder: str = ""


def grid(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination, the last path varying fastest."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def sweep(
    config: str,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    out: Path = Path("results"),
    into: Path | None = None,
    say: Say = lambda _: None,
) -> SweepResult:
    """Run the grid of a config, one run a point, and mark the frontiers.

    Points whose run lies finished in the sweep's folder already are not run again: they are found by the hash of their
    resolved config. A point that fails is told and does not lose the others.

    Raises:
        UsageError: the config has no sweep, or a combination is no valid config or names no valid SLO: nothing was run.
        ResultsError: the sweep's folder cannot be written.
    """
    base = load(config, overrides, seed=seed).experiment
    if not base.sweep:
        raise UsageError(f"{config} has no sweep:", remedy="add, for example, sweep: {load.concurrency: [1, 8, 64]}")
    points = [(values, _at(config, overrides, seed, values)) for values in _few(base.sweep)]
    folder = into or out / f"sweep-{base.name[:40]}-{_sha256(resolved(base))[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot make {folder}: {error.strerror}") from error
    finished = _finished(folder)
    result = SweepResult(name=base.name, paths=list(base.sweep), points=[], folder=str(folder))
    for number, (values, experiment) in enumerate(points, 1):
        point, summary = _point(values, experiment, folder, finished)
        result.points.append(point)
        if summary is not None:
            result.simulated |= summary.target.simulated
            result.currency = summary.cost.currency if summary.cost is not None else result.currency
        how = "already there" if point.resumed else point.error or point.verdict
        say(f"  {number} of {len(points)}: {', '.join(f'{key}={value}' for key, value in values.items())}: {how}")
        _conclude(result)
    return result


def _few(grid_of: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    size = 1
    for values in grid_of.values():
        size *= len(values)
    if size > MOST_POINTS:
        raise UsageError(f"the sweep has {size:,} points", remedy=f"cut its lists: {MOST_POINTS:,} are the most")
    return grid(grid_of)


def _at(config: str, overrides: Sequence[str], seed: int | None, values: Mapping[str, Any]) -> Experiment:
    """The experiment at one point. JSON is YAML, so a value is an override as it is."""
    more = [f"{path}={msgspec.json.encode(value).decode()}" for path, value in values.items()]
    experiment = load(config, [*overrides, *more], seed=seed).experiment.model_copy(update={"sweep": None})
    check(experiment)
    return experiment


def _finished(folder: Path) -> dict[str, RunFolder]:
    """The finished runs in the sweep's folder, by the hash of their config."""
    found = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        run_folder = RunFolder(place)
        try:
            manifest = run_folder.read_manifest()
            if manifest.ended_at is not None and not manifest.interrupted and run_folder.summary.is_file():
                found[_sha256(run_folder.experiment.read_text(encoding="utf-8"))] = run_folder
        except (ResultsError, OSError):
            continue
    return found


def _point(
    values: dict[str, Any], experiment: Experiment, folder: Path, finished: Mapping[str, RunFolder]
) -> tuple[Point, Summary | None]:
    digest = _sha256(resolved(experiment))
    if digest in finished:
        place = finished[digest]
        return _told(values, digest, place, evaluate(place).summary, resumed=True)
    try:
        outcome = run(experiment, out=folder, quiet=True)
    except HarnessError as error:
        words = f"{error.message.splitlines()[0]}" if error.message else type(error).__name__
        return Point(values=values, experiment_sha256=digest, state="failed", error=words), None
    if outcome.exit_code is ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return _told(values, digest, outcome.folder, outcome.analysis.summary, resumed=False)


def _told(
    values: dict[str, Any], digest: str, place: RunFolder, summary: Summary, *, resumed: bool
) -> tuple[Point, Summary]:
    def stat(metric: str, name: str) -> float | None:
        stats = summary.metrics.get(metric)
        return None if stats is None else getattr(stats, name)

    point = Point(
        values=values,
        experiment_sha256=digest,
        state="done",
        resumed=resumed,
        folder=str(place.path),
        verdict=summary.validity.verdict,
        slo=[result.verdict for result in summary.slo],
        interactivity=stat("interactivity", "p50"),
        output_tokens_per_s=summary.rates.output_tokens_per_s,
        ttft_p50=stat("ttft", "p50"),
        ttft_p95=stat("ttft", "p95"),
        makespan_p50=stat("session.makespan", "p50"),
        cost_per_1m_tokens=None if summary.cost is None else summary.cost.per_1m_tokens,
        cost_per_session=None if summary.cost is None else summary.cost.per_session,
    )
    return point, summary


def _conclude(result: SweepResult) -> None:
    """Mark the frontiers of the points so far, and keep the whole on disk: a killed sweep can be told too."""
    points = result.points
    speed = frontier([(p.interactivity, p.output_tokens_per_s) if p.counts else (None, None) for p in points])
    cost = frontier(
        [(_minus(p.cost_per_session), _minus(p.makespan_p50)) if p.counts else (None, None) for p in points]
    )
    for index, point in enumerate(points):
        point.on_speed_frontier, point.on_cost_frontier = speed[index], cost[index]
    failed = any(point.state == "failed" for point in points)
    invalid = any(point.verdict == "invalid" for point in points)
    result.exit_code = int(ExitCode.TARGET if failed else ExitCode.INVALID if invalid else ExitCode.PASSED)
    write_whole(Path(result.folder) / SWEEP, indented(result) + b"\n")


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
