"""`harness compare`: finished runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import Json


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more runs: folders, stored baselines, summary files; a folder of runs is all of them."
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help="terminal (the default), md, html, json; several by commas, with -O."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-O", "--output", help="Write to this path; - is standard output. Several formats: PATH.{ext}."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs of different loads too, with a warning.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Only tell speed, memory and money of each run, whatever their loads.")
    ] = False,
    json: Json = False,
) -> None:
    """Hold runs against the first: ratios with 95 % intervals, effect sizes, and what else differs.

    Example: harness compare results/20261121T083400Z-chat-3f2a results/20261121T091500Z-chat-77b0

    Below it: the classic table of speed and memory, and own hardware against hosted models. Refuses open against
    closed load, and (without --force) different workloads or loads: then only these tables are told, and the exit
    code is 2. With --table they are all that is asked for, and it is 0. A different seed is the same load.
    """
    from harness.cli.told import columns, tell
    from harness.errors import UsageError
    from harness.judge.comparison import compare as hold
    from harness.judge.comparison import side_by_side
    from harness.judge.subject import open_subject
    from harness.report import comparison as telling
    from harness.report.compare_page import html

    runs = [run for place in runs for run in _runs(place)]
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more", remedy="harness compare results/<run-id> results/<run-id>")
    subjects = [open_subject(run) for run in runs]
    renderers: dict[str, Callable[[Any], str]] = {
        "terminal": partial(telling.text, width=columns()),
        "md": telling.markdown,
        "html": lambda found: html(found, subjects),
    }
    format = "json" if json else format
    if table:
        tell(side_by_side(subjects), renderers, format, output)
        return
    try:
        found = hold(subjects, force=force)
    except UsageError:
        tell(side_by_side(subjects), renderers, format, output)
        raise
    tell(found, renderers, format, output)


def _runs(place: Path) -> list[Path]:
    """The runs right in a folder that is none itself, as those of a sweep; else the place as it is."""
    if not place.is_dir() or (place / "manifest.json").is_file():
        return [place]
    return sorted(run.parent for run in place.glob("*/manifest.json")) or [place]
