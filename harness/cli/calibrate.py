"""`harness calibrate`: what this machine can generate, and how exactly it times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.study.calibrate import Calibration


def calibrate(
    streams: Annotated[
        list[int] | None, typer.Option(min=1, help="Paced streams to measure; repeatable. Default: 64 and 512.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep it for the validity of later runs.")] = True,
) -> None:
    """Measure this machine's ceiling and timing error against the simulated engine's truth.

    Takes about half a minute. Do it on a quiet machine: what else runs now is part of the figures.

    Example: harness calibrate
    """
    import msgspec

    from harness.cli.told import as_json, stream
    from harness.records import calibration
    from harness.study.calibrate import calibrate as measure

    found = measure(tuple(streams or (64, 512)))
    told = msgspec.to_builtins(found)
    kept = calibration.write(told) if keep else None
    if json:
        sys.stdout.write(as_json(told))
        return
    lines = [*_lines(found), *([f"kept      {kept}"] if kept is not None else [])]
    stream().write("".join(f" {line}\n" for line in lines))


def _lines(found: Calibration) -> Iterator[str]:
    ceiling = found.ceiling
    yield (
        f"ceiling   {ceiling.events_per_cpu_second:,.0f} events a second for one worker's core"
        f" ({ceiling.cpu_us_per_event:.1f} µs an event, {ceiling.streams} streams, records written)"
    )
    yield f"          about {found.paced_streams_per_core:,} streams of 50 tokens/s a core"
    for error in found.errors:
        yield (
            f"error     at {error.streams} streams ({error.clock} clock): TTFT {error.ttft_p50_us:.0f} µs p50,"
            f" {error.ttft_p99_us:.0f} µs p99 · ITL {error.itl_p50_us:.0f} µs p50, {error.itl_p99_us:.0f} µs p99"
        )
