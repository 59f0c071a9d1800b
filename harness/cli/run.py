"""`harness run`: plan, load, record, summarise, judge, and tell."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Config, Reports
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.live.serving import Serving

_MetricsPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Serve live figures to Prometheus on this port; 0 takes a free one."),
]
_LiveUrl = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Serve the live view as a web page, on the loopback unless a host is given; port 0 takes a free one.",
    ),
]
_Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Play only shard I of N (0/3, 1/3, 2/3); then harness merge.")
]
_StartAt = Annotated[
    str | None,
    typer.Option(metavar="T", help="Start the load at this instant: 2026-01-31T12:00:00Z, Unix seconds, or +20s."),
]


def run(
    config: Config,
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, e.g. load.rate=5/s; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Parent folder of the run's folder.")] = Path("results"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default from the config (auto).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the plan; default from the config.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live view, no report on the terminal.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would happen, as `harness plan` does.")
    ] = False,
    report: Reports = None,
    metrics_port: _MetricsPort = None,
    metrics_host: Annotated[str, typer.Option(help="Address of --metrics-port.")] = "127.0.0.1",
    live_url: _LiveUrl = None,
    shard: _Shard = None,
    start_at: _StartAt = None,
) -> None:
    """Run one experiment and judge it.

    Example: harness run configs/quickstart.yaml -o load.rate=20/s --report md=summary.md

    Exit codes: 0 passed, 2 wrong config, 3 target unreachable, 4 run invalid, 10 SLO failed, 12 inconclusive,
    130 interrupted (what was measured is kept and told).
    """
    if dry_run:
        if shard is not None or start_at is not None:
            raise UsageError("--dry-run tells of the whole plan", remedy="leave out --shard and --start-at")
        from harness.cli.plan import plan

        plan(config=config, override=override, seed=seed, json=json)
        return
    overrides = list(override or ())
    if workers is not None:
        overrides.append(f"load.workers={workers}")
    from harness.cli.appointed import appointment
    from harness.config.load import load
    from harness.report.outputs import Outputs
    from harness.run import run as run_experiment

    when = appointment(shard, start_at)
    loaded = load(config, overrides, seed=seed)
    outputs = Outputs.parse(report or [])
    with _serving(metrics_port, metrics_host, live_url) as serving:
        outcome = run_experiment(
            loaded.experiment, out=out, outputs=outputs, quiet=quiet, serving=serving, appointment=when
        )
    if json:
        sys.stdout.write(outcome.folder.summary.read_text(encoding="utf-8"))
    if not quiet:
        from harness.cli.told import console
        from harness.report.terminal import TerminalReport

        TerminalReport().show(outcome.analysis, console(sys.stderr if json else None))
    raise typer.Exit(int(outcome.exit_code))


def _serving(port: int | None, host: str, live_url: str | None) -> AbstractContextManager[Serving | None]:
    """What is served, where asked for. Opened before anything is sent, so that a busy port costs no run."""
    if port is None and live_url is None:
        return nullcontext()
    from harness.live.serving import Serving, parse_address

    page = None if live_url is None else parse_address(live_url)
    serving = Serving(metrics=None if port is None else (host, port), page=page)
    for line in serving.told:
        print(f"harness: {line}", file=sys.stderr, flush=True)
    return serving
