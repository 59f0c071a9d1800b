"""Where and how a verb tells what it found.

Text for people that nobody asked for by name goes to the terminal: standard output where that is one, else standard
error. A document that was asked for, by `--json`, `--format` or `-O -`, goes to standard output wherever that leads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness.errors import UsageError
from harness.records.document import indented
from harness.records.folder import write_whole
from harness.report.outputs import STDOUT

if TYPE_CHECKING:
    from rich.console import Console

_EXTENSIONS = {"terminal": "txt", "md": "md", "json": "json", "csv": "csv", "html": "html"}
_WIDTH = 120  # where no terminal tells its own


def stream() -> TextIO:
    """Where text for people goes that nobody asked for by name."""
    return sys.stdout if sys.stdout.isatty() else sys.stderr


def console(to: TextIO | None = None) -> Console:
    """The same, with colours where that is a terminal, or another stream. Long lines are left to the terminal."""
    from rich.console import Console

    return Console(file=to or stream(), highlight=False, soft_wrap=True)


def columns() -> int:
    """How wide tables may be: what $COLUMNS says, else the terminal at hand, else 120."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream().fileno()).columns or _WIDTH
    except (OSError, ValueError):
        return _WIDTH


def progress(quiet: bool) -> Callable[[str], None]:
    """What a verb that takes long calls with each line on how it goes on."""

    def say(line: str) -> None:
        if not quiet:
            print(f" {line}", file=sys.stderr, flush=True)

    return say


def as_json(found: Any) -> str:
    """One indented JSON document."""
    return indented(found).decode() + "\n"


def tell(
    found: Any,
    renderers: Mapping[str, Callable[[Any], str]],
    formats: str | None = None,
    output: str | None = None,
) -> None:
    """Tell `found` in the formats named with commas; JSON is one of them always.

    Args:
        found: What was found.
        renderers: How it is told, by format.
        formats: None where none was asked for: that is `terminal`, for people.
        output: A path, with `{ext}` where there are several formats; `-` is standard output, and so is none.

    Raises:
        UsageError: an unknown format, or one path for several formats.
        ResultsError: a file cannot be written.
    """
    known = {**renderers, "json": as_json}
    names = [name.strip() for name in ("terminal" if formats is None else formats).split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown format '{name}'", remedy=f"one of {', '.join(known)}")
    if not names:
        raise UsageError("--format names no format", remedy=f"one of {', '.join(known)}")
    if len(names) > 1 and (output is None or "{ext}" not in output):
        raise UsageError("several formats need a path for each", remedy="give -O PATH.{ext}, as in -O out/told.{ext}")
    for name in names:
        told = known[name](found)
        if output is None or output == STDOUT:
            (stream() if formats is None and output is None else sys.stdout).write(told)
            continue
        path = Path(output.replace("{ext}", _EXTENSIONS[name]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        write_whole(path, told.encode())
        print(f"wrote {path}", file=sys.stderr)
