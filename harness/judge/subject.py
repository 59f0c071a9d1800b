"""One side of a comparison: a run on disk, or a baseline that was stored from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

from harness.errors import ResultsError
from harness.judge.evaluate import evaluate
from harness.judge.foreign import read_foreign
from harness.judge.slo import Estimate
from harness.judge.term import Term
from harness.metrics.analysis import Analysis
from harness.metrics.summary import Summary
from harness.records.document import indented
from harness.records.folder import RunFolder, write_whole

SCHEMA = 1
_RESERVED = "harness_baseline"


class Facts(msgspec.Struct, kw_only=True):
    """What a comparison needs of a run. `estimates` are the figures it was asked for when it was stored, by name;
    `target` is what the server told of itself; `foreign` the other load generator whose result this is, empty for our
    own."""

    schema: int = SCHEMA
    kind: str = _RESERVED
    summary: Summary
    config: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    harness_version: str = ""
    settings: dict[str, Any] = {}
    target: dict[str, Any] = {}
    estimates: dict[str, Estimate] = {}
    foreign: str = ""


@dataclass(frozen=True)
class Subject:
    """`analysis` is None where only the summary is at hand; `reference` is a run of something unchanged, made in the
    same job, by which the figures of this one can be normalised."""

    source: str
    facts: Facts
    analysis: Analysis | None = None
    reference: Subject | None = None

    @property
    def summary(self) -> Summary:
        return self.facts.summary

    def estimate(self, term: Term) -> Estimate:
        """A figure of this run and how sure it is."""
        if self.analysis is not None:
            return term.of(self.analysis)
        return self.facts.estimates.get(term.name) or term.of_summary(self.summary)

    def values(self, metric: str) -> np.ndarray[Any, Any] | None:
        """Every value of a metric; None where the records are not at hand."""
        return None if self.analysis is None else self.analysis.samples.values(metric)


class _Stored(msgspec.Struct, kw_only=True):
    """The file of a baseline."""

    kind: str = _RESERVED
    schema: int = SCHEMA
    facts: Facts
    reference: Facts | None = None


def open_subject(place: Path) -> Subject:
    """A run folder (or a file in it), a stored baseline, a summary that lies alone, or another tool's result file.

    Raises:
        ResultsError: there is no such thing, or it is damaged.
    """
    if place.is_file() and place.suffix in (".json", ".jsonl") and not (place.parent / "manifest.json").is_file():
        return _from_file(place)
    return of_analysis(evaluate(RunFolder.open(place)), str(place))


def of_analysis(analysis: Analysis, source: str = "") -> Subject:
    """The subject of an analysed run."""
    config: Any = {}
    if analysis.folder is not None:
        try:
            config = yaml.safe_load(analysis.folder.experiment.read_bytes())
        except (OSError, yaml.YAMLError) as error:
            raise ResultsError(f"cannot read {analysis.folder.experiment}: {error}") from error
    manifest = analysis.manifest
    facts = Facts(
        summary=analysis.summary,
        config=config if isinstance(config, dict) else {},
        machine=manifest.machine,
        harness_version=manifest.harness_version,
        settings=manifest.settings,
        target=manifest.target.get("facts") or {},
    )
    return Subject(source or manifest.run_id, facts, analysis)


def store(subject: Subject, terms: Sequence[Term], path: Path) -> None:
    """Keep a run as a baseline: its summary, what it was and where, and the figures of `terms`.

    Raises:
        ResultsError: the file cannot be written.
    """
    reference = None if subject.reference is None else _with(subject.reference, terms)
    stored = _Stored(facts=_with(subject, terms), reference=reference)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}") from error
    write_whole(path, indented(stored) + b"\n")


def _with(subject: Subject, terms: Sequence[Term]) -> Facts:
    known = {term.name: subject.estimate(term) for term in terms}
    return msgspec.structs.replace(
        subject.facts, estimates={name: found for name, found in known.items() if found.value}
    )


def _from_file(path: Path) -> Subject:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    foreign = read_foreign(raw, str(path))
    if foreign is not None:
        return Subject(str(path), Facts(summary=foreign[1], foreign=foreign[0]))
    try:
        told = msgspec.json.decode(raw)
        if isinstance(told, Mapping) and told.get("kind") == _RESERVED:
            stored = msgspec.json.decode(raw, type=_Stored)
            newest = stored.schema
        elif isinstance(told, Mapping) and "validity" in told and "run" in told:
            stored = _Stored(facts=Facts(summary=msgspec.json.decode(raw, type=Summary)))
            newest = stored.facts.summary.schema
        else:
            raise ResultsError(f"{path} is neither a run, a stored baseline, a summary.json nor a known tool's result")
    except msgspec.DecodeError as error:
        raise ResultsError(f"{path} is damaged: {error}") from error
    if newest > SCHEMA:
        raise ResultsError(
            f"{path} has schema {newest}; this harness reads up to {SCHEMA}",
            remedy="pip install --upgrade inference-harness",
        )
    reference = None if stored.reference is None else Subject(f"reference of {path}", stored.reference)
    return Subject(str(path), stored.facts, reference=reference)
