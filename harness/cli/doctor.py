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
    from harness.telemetry.doctor import examine

    checks = examine()
    if json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(checks), indent=2) + b"\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, style = _MARKS[check.state]
        console.print(Text(f" {mark} ", style) + Text(f"{check.name:{width}}  {check.value}"))
        if check.remedy:
            console.print(Text(f"   {'':{width}}  → {check.remedy}"))
