"""From an analysed run to its story: gathers what is known beside the summary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.records.folder import RunFolder
from harness.records.reader import read_records
from harness.report.story import Circumstances, Story, tell

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_PARTS = {"prefill": "queue+prefill", "decode": "decode", "gap": "tools+think", "lag": "client"}


def story_of(analysis: Analysis) -> Story:
    """The story of a run."""
    return tell(analysis.summary, circumstances(analysis))


def circumstances(analysis: Analysis) -> Circumstances:
    """What is known of a run beside its figures. Of records in memory that is less."""
    folder, manifest = analysis.folder, analysis.manifest
    interrupted = manifest.interrupted or any(worker.interrupted for worker in manifest.workers)
    if folder is None:
        return Circumstances(interrupted=interrupted, time_shares=time_shares(analysis))
    return Circumstances(
        experiment=experiment_of(folder),
        interrupted=interrupted,
        unended=manifest.ended_at is None,
        place=as_typed(folder.path),
        has_html=folder.report.is_file(),
        error_examples=error_examples(folder, set(analysis.summary.counts.requests.by_error)),
        time_shares=time_shares(analysis),
    )


def experiment_of(folder: RunFolder) -> Mapping[str, Any]:
    """The resolved config, or nothing where it cannot be read: a report is told without it too."""
    try:
        config = yaml.safe_load(folder.experiment.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def as_typed(path: Path) -> str:
    """The path as a person here would type it: relative where that is shorter."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def error_examples(folder: RunFolder, names: set[str]) -> dict[str, str]:
    """What the server said, once for each error name. Stops reading as soon as every name has its example."""
    found: dict[str, str] = {}
    if not names:
        return found
    for record in read_records(folder.records()):
        if record.error in names and record.error not in found and record.error_detail:
            found[record.error] = record.error_detail
            if len(found) == len(names):
                break
    return found


def time_shares(analysis: Analysis) -> list[tuple[str, float]]:
    """Where the time of whole, counted sessions went along their critical paths: shares that add up to one."""
    sessions = analysis.sessions
    counted = sessions.whole & analysis.window.counted
    total = float(sessions.critical_path[counted].sum())
    if not total > 0:
        return []
    shares = [(title, float(getattr(sessions, part)[counted].sum()) / total) for part, title in _PARTS.items()]
    return [(title, share) for title, share in shares if share >= 0.005]
