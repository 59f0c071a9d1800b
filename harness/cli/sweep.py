"""`harness sweep`: the config's grid, one run a point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def sweep(
    config: Annotated[str, typer.Argument(help="A config with sweep: {path: [values]}.")],
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, e.g. sweep.load.rate=[1,2,4].")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every run; default from the config.")] = None,
    out: Annotated[Path, typer.Option(help="Parent folder of the sweep's folder.")] = Path("results"),
    into: Annotated[Path | None, typer.Option(help="The sweep's folder itself; default: one for each config.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="terminal, md, html, csv or json.")] = "terminal",
    output: Annotated[str | None, typer.Option("-O", "--output", help="Write to this path.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document; the same as --format json.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell how it goes on.")] = False,
) -> None:
    """Run every combination of the config's sweep and mark what no other point beats.

    Example: harness sweep chat.yaml -o 'sweep.load.concurrency=[1,8,64]'

    Interrupted or failed? Run the same command again: finished points are kept. Exit codes: 0 done, 3 a point
    failed, 4 a point's run is invalid.
    """
    from harness.cli.told import tell
    from harness.study.stored import keep, renderers
    from harness.study.sweep import sweep as play

    found = play(
        config,
        override or (),
        seed=seed,
        out=out,
        into=into,
        say=(lambda _: None) if quiet else (lambda line: print(f" {line}", file=sys.stderr, flush=True)),
    )
    keep(found, Path(found.folder))
    tell(found, renderers(found), "json" if json else format, output, out=sys.stdout)
    raise typer.Exit(found.exit_code)
