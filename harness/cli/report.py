"""`harness report`: tell a finished or interrupted run again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis
    from harness.records.folder import RunFolder
    from harness.report.outputs import Outputs

_FILES = ("html", "parquet")  # not for the eye at a shell


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run, results/<run-id>, or any file in it.")],
    format: Annotated[
        str,
        typer.Option("--format", "-f", help="terminal, html, md, json, csv, junit, parquet ...; several by commas."),
    ] = "terminal",
    output: Annotated[
        str | None,
        typer.Option(
            "-O", "--output", help="Where to write; - is standard output. Several formats: PATH.{ext}. Or a URL."
        ),
    ] = None,
) -> None:
    """Tell a finished or interrupted run again, from its records.

    Example: harness report results/20261121T083400Z-quickstart-3f2a --format md

    Without -O, one text format goes to standard output; html, parquet, and each of several formats go to the run's
    folder as report.<extension>. With -O and several formats the path must hold {ext}, as in -O out/run.{ext}.
    pushgateway is pushed to the URL of a gateway: -O http://HOST:9091.
    """
    from harness.judge.evaluate import evaluate
    from harness.records.folder import RunFolder

    folder = RunFolder.open(run)
    names = [name.strip() for name in format.split(",") if name.strip()]
    outputs = _outputs(names, output, folder)
    analysis = evaluate(folder)
    if outputs is None:
        _show(analysis)
        return
    outputs.write(analysis)
    for one in outputs.outputs:
        if one.path != "-":
            print(one.done, file=sys.stderr)


def _outputs(names: list[str], output: str | None, folder: RunFolder) -> Outputs | None:
    """Where each format goes; None for the terminal's own summary."""
    from harness import registry
    from harness.errors import UsageError
    from harness.report.outputs import STDOUT, Outputs
    from harness.report.protocol import GROUP

    if names == ["terminal"] and output is None:
        return None
    if not names:
        raise UsageError("--format names no format", remedy=f"one of {', '.join(registry.names(GROUP))}")
    extensions = {name: registry.load(GROUP, name).extension for name in names}
    if output is None:
        if "pushgateway" in names:
            raise UsageError(
                "pushgateway needs a gateway", remedy="-O http://HOST:9091, or -O - to see what it would get"
            )
        alone = len(names) == 1 and names[0] not in _FILES
        places = {name: STDOUT if alone else str(folder.path / f"report.{extensions[name]}") for name in names}
    elif len(names) > 1 and "{ext}" not in output:
        raise UsageError(f"-O {output} is one path for {len(names)} formats", remedy="put {ext} into it: run.{ext}")
    else:
        places = {name: output.replace("{ext}", extensions[name]) for name in names}
    return Outputs.parse(f"{name}={place}" for name, place in places.items())


def _show(analysis: Analysis) -> None:
    from rich.console import Console

    from harness.report.terminal import TerminalReport

    TerminalReport().show(analysis, Console(highlight=False))
