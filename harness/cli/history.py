"""`harness history`: past runs, their trend, and where it changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Output

DEFAULT = ("ttft.p50", "tpot.p50", "e2e.p95", "rates.output_tokens_per_s")


def history(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("results"),
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help=f"What to list; repeatable. Default: {', '.join(DEFAULT)}."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many runs of a series to list.")] = 20,
    invalid: Annotated[bool, typer.Option("--all", help="List invalid runs too.")] = False,
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="terminal (the default), md, csv or json.")
    ] = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """List past runs with the trend of their figures and the points where a figure changed its level.

    Example: harness history --metric ttft.p95 --name chat

    Runs of one name, engine, model, machine and load make one series. Change points are a hint where to look, not a
    verdict: gate with harness ab.
    """
    from harness.cli.told import tell
    from harness.judge.history import history as read
    from harness.judge.term import term
    from harness.report import history as telling

    found = read(folder, [term(text) for text in metric or DEFAULT], name=name, invalid=invalid)
    renderers = {
        "terminal": partial(telling.text, last=last),
        "md": partial(telling.markdown, last=last),
        "csv": partial(telling.rows_csv, names=None if metric is None else found.terms),
    }
    tell(found, renderers, "json" if json else format, output)
