"""`harness doctor`: what in this environment would spoil a measurement."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red"), "unknown": ("·", "dim")}


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say what in this environment would spoil a measurement, each with a remedy.

    Example: harness doctor

    Always exits 0: it gives advice, the verdict of a run decides.
    """
    from harness.cli.told import as_json, console
    from harness.telemetry.doctor import examine

    checks = examine()
    if json:
        sys.stdout.write(as_json(checks))
        return
    from rich.text import Text

    screen = console()
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, style = _MARKS[check.state]
        screen.print(Text(f" {mark} ", style) + Text(f"{check.name:{width}}  {check.value}"))
        if check.remedy:
            screen.print(Text(f"   {'':{width}}  → {check.remedy}"))
