"""`harness sweep`: the config's grid, one run a point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Output, Quiet


def sweep(
    config: Annotated[str, typer.Argument(help="A config with sweep: {path: [values]}.")],
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, e.g. sweep.load.rate=[1,2,4].")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every run; default from the config.")] = None,
    out: Annotated[Path, typer.Option(help="Parent folder of the sweep's folder.")] = Path("results"),
    into: Annotated[Path | None, typer.Option(help="The sweep's folder itself; default: one for each config.")] = None,
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="terminal (the default), md, html, csv or json.")
    ] = None,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination of the config's sweep and mark what no other point beats.

    Example: harness sweep chat.yaml -o 'sweep.load.concurrency=[1,8,64]'

    Interrupted or failed? Run the same command again: finished points are kept. Exit codes: 0 done, 3 a point
    failed, 4 a point's run is invalid.
    """
    from harness.cli.told import progress, tell
    from harness.study.stored import keep, renderers
    from harness.study.sweep import sweep as play

    found = play(
        config,
        override or (),
        seed=seed,
        out=out,
        into=into,
        say=progress(quiet),
    )
    keep(found, Path(found.folder))
    tell(found, renderers(found), "json" if json else format, output)
    raise typer.Exit(found.exit_code)
