"""How the result of a verb that is no run is told: as text, Markdown or JSON, on standard output or in files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec

from harness.errors import UsageError
from harness.records.folder import write_whole

_EXTENSIONS = {"terminal": "txt", "md": "md", "json": "json", "csv": "csv", "html": "html"}


def as_json(found: Any) -> str:
    """One indented JSON document."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def tell(
    found: Any,
    renderers: Mapping[str, Callable[[Any], str]],
    formats: str,
    output: str | None = None,
    *,
    out: TextIO = sys.stdout,
) -> None:
    """Tell `found` in the formats named with commas; JSON is one of them always.

    Raises:
        UsageError: an unknown format, or one path for several formats.
        ResultsError: a file cannot be written.
    """
    known = {**renderers, "json": as_json}
    names = [name.strip() for name in formats.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown format '{name}'", remedy=f"one of {', '.join(known)}")
    if not names:
        raise UsageError("--format names no format", remedy=f"one of {', '.join(known)}")
    if len(names) > 1 and (output is None or "{ext}" not in output):
        raise UsageError("several formats need a path for each", remedy="give -O PATH.{ext}, as in -O out/told.{ext}")
    for name in names:
        told = known[name](found)
        if output is None:
            out.write(told)
            continue
        path = Path(output.replace("{ext}", _EXTENSIONS[name]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        write_whole(path, told.encode())
        print(f"wrote {path}", file=sys.stderr)
