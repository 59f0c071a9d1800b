"""Past runs of a folder as series of runs that can be compared, with the points where a figure changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness.errors import HarnessError, ResultsError
from harness.judge.change_points import Change, change_points
from harness.judge.likeness import between_loads
from harness.judge.slo import Estimate
from harness.judge.term import Term
from harness.metrics import summary as summaries
from harness.metrics.summary import Summary
from harness.records.folder import RunFolder

SCHEMA = 1


class Past(msgspec.Struct, kw_only=True):
    """One run. `figures` by the name of the term."""

    folder: str
    summary: Summary
    machine: dict[str, Any] = {}
    figures: dict[str, Estimate] = {}


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one figure; `run` is the first run after it."""

    term: str
    run: str
    started_at: str
    change: Change


class Series(msgspec.Struct, kw_only=True):
    """Runs of one name, engine, model and machine that ask the same load, oldest first. `apart` tells what is its own
    in the load, where others of that name ask another."""

    runs: list[Past]
    apart: list[str] = []
    turns: list[Turn] = []


class History(msgspec.Struct, kw_only=True):
    """`unread` are folders whose summary cannot be read, with the reason."""

    schema: int = SCHEMA
    folder: str
    terms: list[str]
    series: list[Series]
    invalid: int = 0
    unread: list[str] = []


def history(place: Path, terms: Sequence[Term], *, name: str | None = None, invalid: bool = False) -> History:
    """The runs right under `place`, by their summaries.

    Invalid runs are counted and left out, or shown where `invalid` is set; no change is ever seen in one.

    Raises:
        ResultsError: there is no such folder, or no run in it.
    """
    if not place.is_dir():
        raise ResultsError(f"no folder {place}", remedy="name the folder that holds the runs, as in --out")
    found = History(folder=str(place), terms=[term.name for term in terms], series=[])
    runs: list[tuple[Past, dict[str, Any]]] = []
    for path in sorted(place.glob("*/summary.json")):
        try:
            runs.append((_past(path, terms), _config(path.with_name("experiment.yaml"))))
        except (HarnessError, OSError, msgspec.DecodeError) as error:
            found.unread.append(f"{path}: {error}")
    runs = [(run, config) for run, config in runs if name is None or run.summary.run.name == name]
    if not runs and not found.unread:
        named = "" if name is None else f" named {name}"
        raise ResultsError(f"no run{named} in {place}", remedy="runs lie right under it, each in a folder of its own")
    found.invalid = sum(run.summary.validity.verdict == "invalid" for run, _ in runs)
    loads: list[dict[str, Any]] = []
    for run, config in sorted(runs, key=lambda pair: pair[0].summary.run.started_at):
        if invalid or run.summary.validity.verdict != "invalid":
            _place(found.series, loads, run, config)
    for series, load in zip(found.series, loads, strict=True):
        series.apart = list(dict.fromkeys(_apart(series, load, zip(found.series, loads, strict=True))))
        series.turns = [turn for term in terms for turn in _turns(series.runs, term.name)]
    return found


def _past(path: Path, terms: Sequence[Term]) -> Past:
    summary = summaries.from_json(path.read_bytes())
    folder = RunFolder(path.parent)
    machine = folder.read_manifest().machine if folder.manifest.is_file() else {}
    return Past(
        folder=str(path.parent),
        summary=summary,
        machine={key: machine.get(key) for key in ("processor", "cores")},
        figures={term.name: term.of_summary(summary) for term in terms},
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _place(known: list[Series], loads: list[dict[str, Any]], run: Past, config: dict[str, Any]) -> None:
    """Into the series it belongs to, or a new one. `loads` holds a config of each series."""
    for series, load in zip(known, loads, strict=True):
        if _identity(series.runs[-1]) == _identity(run) and not between_loads(load, config):
            series.runs.append(run)
            return
    known.append(Series(runs=[run]))
    loads.append(config)


def _apart(series: Series, load: dict[str, Any], known: Iterable[tuple[Series, dict[str, Any]]]) -> Iterator[str]:
    """What sets it apart from series of the same name: `load.concurrency 8`, `cores 64`."""
    run = series.runs[0]
    for other, others_load in known:
        if _name(other.runs[0]) == _name(run):
            found = between_loads(load, others_load) if load and others_load else []
            yield from (each.of_base() for each in found if each.base is not None)
            theirs = other.runs[0].machine
            told = {key: value for key, value in run.machine.items() if value is not None}
            yield from (f"{key} {value}" for key, value in told.items() if value != theirs.get(key))


def _name(run: Past) -> tuple[str, str, str]:
    target = run.summary.target
    return run.summary.run.name, target.engine or target.backend, target.model


def _identity(run: Past) -> tuple[tuple[str, str, str], Mapping[str, Any]]:
    return _name(run), run.machine


def _turns(runs: Sequence[Past], term: str) -> list[Turn]:
    kept = [run for run in runs if run.summary.validity.verdict != "invalid" and run.figures[term].value is not None]
    changes = change_points([float(run.figures[term].value or 0.0) for run in kept])
    return [
        Turn(
            term=term,
            run=kept[change.at].summary.run.id,
            started_at=kept[change.at].summary.run.started_at,
            change=change,
        )
        for change in changes
    ]
