"""Studies on disk: what lies in a study's folder, and how each kind is told again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import ResultsError
from harness.records.folder import write_whole
from harness.study import files
from harness.study.ab import SCHEMA as AB
from harness.study.ab import AbResult
from harness.study.ab_page import ab_html
from harness.study.capacity import SCHEMA as CAPACITY
from harness.study.capacity import CapacityResult
from harness.study.capacity_page import capacity_html
from harness.study.sweep import SCHEMA as SWEEP
from harness.study.sweep import SweepResult
from harness.study.sweep_page import sweep_html
from harness.study.sweep_told import sweep_csv, sweep_markdown, sweep_text
from harness.study.told import ab_markdown, ab_text, capacity_markdown, capacity_text

Renderers = Mapping[str, Callable[[Any], str]]

REPORT = "report.html"


@dataclass(frozen=True)
class Kind:
    """A kind of study: its file, the type in it, its newest schema, and its ways of telling by format."""

    file: str
    type: type[Any]
    schema: int
    renderers: Renderers


KINDS = (
    Kind(files.AB, AbResult, AB, {"terminal": ab_text, "md": ab_markdown, "html": ab_html}),
    Kind(
        files.CAPACITY,
        CapacityResult,
        CAPACITY,
        {"terminal": capacity_text, "md": capacity_markdown, "html": capacity_html},
    ),
    Kind(
        files.SWEEP,
        SweepResult,
        SWEEP,
        {"terminal": sweep_text, "md": sweep_markdown, "csv": sweep_csv, "html": sweep_html},
    ),
)


def renderers(found: Any) -> Renderers:
    """The ways of telling a study's result."""
    return next(kind.renderers for kind in KINDS if isinstance(found, kind.type))


def keep(found: Any, folder: Path) -> None:
    """Write a study's reports into its folder, beside its JSON: Markdown, CSV where it has one, and the page.

    Raises:
        ResultsError: a file cannot be written.
    """
    kind = next(kind for kind in KINDS if isinstance(found, kind.type))
    for name, render in kind.renderers.items():
        if name != "terminal":
            place = REPORT if name == "html" else f"{Path(kind.file).stem}.{name}"
            write_whole(folder / place, render(found).encode())


def read_study(path: Path) -> Any:
    """The result of a study, from the file that `files.study_file` found.

    Raises:
        ResultsError: it is damaged, or of a newer schema.
    """
    kind = next(kind for kind in KINDS if kind.file == path.name)
    try:
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema <= kind.schema:
            return msgspec.json.decode(data, type=kind.type)
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ResultsError(f"{path} is damaged: {error}") from error
    raise ResultsError(
        f"{path} has schema {schema}; this harness reads up to {kind.schema}",
        remedy="pip install --upgrade inference-harness",
    )


class _Schema(msgspec.Struct):
    schema: int = 1
