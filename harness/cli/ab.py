"""`harness ab`: interleaved paired A/B of two configs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Output, Quiet


def ab(
    base: Annotated[str, typer.Argument(help="The config of the base.")],
    candidate: Annotated[str, typer.Argument(help="The config of the candidate: same workload and load.")],
    pairs: Annotated[int, typer.Option(min=3, help="Pairs of runs.")] = 8,
    margin: Annotated[str, typer.Option(help="How much worse still counts as the same.")] = "3%",
    metric: Annotated[
        list[str] | None,
        typer.Option(help="What decides, e.g. ttft.p95; up to three times. Default: ttft.p50 and tpot.p50."),
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, for both configs.")
    ] = None,
    one_at_a_time: Annotated[
        bool, typer.Option("--one-at-a-time", help="Start each server anew for its run: two do not fit the machine.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Parent folder of the test's folder.")] = Path("results"),
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the first pair; default from the base.")] = None,
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="terminal (the default), md, html or json.")
    ] = None,
    output: Output = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run two configs in interleaved pairs and say whether the candidate is worse.

    Example: harness ab base.yaml candidate.yaml --pairs 8 --margin 3%

    Both runs of a pair have the same seed; the order alternates (ABBA). Exit codes: 0 no worse than the margin,
    4 runs cannot be trusted, 11 regression, 12 inconclusive.
    """
    from harness.cli.told import progress, tell
    from harness.config.load import load
    from harness.errors import UsageError
    from harness.study.ab import ab as test
    from harness.study.stored import keep, renderers
    from harness.units import parse_share

    try:
        allowed = parse_share(margin)
    except ValueError as error:
        raise UsageError(f"--margin: {error}") from None
    arms = [load(config, override or (), seed=seed).experiment for config in (base, candidate)]
    found = test(
        *arms,
        pairs=pairs,
        margin=allowed,
        metrics=metric or (),
        out=out,
        one_at_a_time=one_at_a_time,
        say=progress(quiet),
    )
    keep(found, Path(found.folder))
    tell(found, renderers(found), "json" if json else format, output)
    raise typer.Exit(found.exit_code)
