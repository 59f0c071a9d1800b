"""`harness merge`: the shards of one load, run apart, as one run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Reports


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of the shards' runs.")],
    out: Annotated[Path, typer.Option(help="Parent folder of the merged run's folder.")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="Print summary.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No report on the terminal.")] = False,
    report: Reports = None,
) -> None:
    """Put the shards of one load together, then summarise, judge and report them as one run.

    Example: harness merge shards/*

    The shards are those of harness run --shard I/N --start-at T: the same plan, N and T. A shard that is missing
    makes the merged run invalid. The shards' own folders stay as they are.

    Exit codes: 0 passed, 2 not shards of one load, 4 run invalid, 10 SLO failed, 12 inconclusive.
    """
    from harness.cli.told import console
    from harness.records.folder import RunFolder
    from harness.records.merge import merge_shards
    from harness.report.outputs import Outputs
    from harness.report.terminal import TerminalReport
    from harness.run import finish

    outputs = Outputs.parse(report or [])
    outcome = finish(merge_shards([RunFolder.open(run) for run in runs], out), outputs)
    if json:
        sys.stdout.write(outcome.folder.summary.read_text(encoding="utf-8"))
    if not quiet:
        TerminalReport().show(outcome.analysis, console(sys.stderr if json else None))
    raise typer.Exit(int(outcome.exit_code))
