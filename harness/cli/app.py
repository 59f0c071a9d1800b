"""All verbs, bound together. Each verb's module is light: what is heavy is imported when the verb runs."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import __version__
from harness.cli.ab import ab
from harness.cli.calibrate import calibrate
from harness.cli.capacity import capacity
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.gate import gate
from harness.cli.history import history
from harness.cli.merge import merge
from harness.cli.plan import plan
from harness.cli.prices import prices
from harness.cli.probe import probe
from harness.cli.record import record
from harness.cli.report import report
from harness.cli.run import run
from harness.cli.schema import schema
from harness.cli.sim import sim
from harness.cli.sweep import sweep

app = typer.Typer(
    name="harness",
    help="Benchmark LLM inference servers with chat and agent load: honest latency, cost, capacity, CI gates.",
    epilog="Begin with:  harness run quickstart",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for verb in (
    run,
    plan,
    probe,
    report,
    merge,
    compare,
    gate,
    history,
    ab,
    capacity,
    sweep,
    sim,
    record,
    calibrate,
    doctor,
    prices,
    schema,
):
    app.command()(verb)
