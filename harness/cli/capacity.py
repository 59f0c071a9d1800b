"""`harness capacity`: the largest load that holds the SLOs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Output, Quiet


def capacity(
    config: Annotated[str, typer.Argument(help="A config with load.concurrency or load.rate, and slo.")],
    slo: Annotated[list[str] | None, typer.Option(help="What has to hold, instead of the config's slo.")] = None,
    start: Annotated[
        float | None, typer.Option(min=0.000001, help="First load to probe; default: the config's own.")
    ] = None,
    most: Annotated[
        float | None, typer.Option(min=0.000001, help="Largest load to probe; default 4096 sessions at once.")
    ] = None,
    max_runs: Annotated[int, typer.Option(min=1, help="Give up after this many runs.")] = 60,
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, e.g. load.duration=30s.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the first run; default from the config.")] = None,
    out: Annotated[Path, typer.Option(help="Parent folder of the search's folder.")] = Path("results"),
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="terminal (the default), md, html or json.")
    ] = None,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the largest load that holds the SLOs, confirm it with a new seed, and say what it costs there.

    Example: harness capacity chat.yaml --slo 'ttft.p95 < 500ms' --slo 'tpot.p95 < 50ms'

    Doubles load.concurrency or load.rate until the SLOs fail, then bisects to 10 %. Exit codes: 0 found, 10 even the
    smallest load fails, 12 undecided.
    """
    from harness.cli.told import progress, tell
    from harness.config.load import load
    from harness.study.capacity import capacity as find
    from harness.study.stored import keep, renderers

    experiment = load(config, override or (), seed=seed).experiment
    if slo:
        experiment = experiment.model_copy(update={"slo": list(slo)})
    found = find(
        experiment,
        start=start,
        most=most,
        max_runs=max_runs,
        out=out,
        say=progress(quiet),
    )
    keep(found, Path(found.folder))
    tell(found, renderers(found), "json" if json else format, output)
    raise typer.Exit(found.exit_code)
