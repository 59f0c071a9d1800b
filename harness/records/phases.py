"""Correct the provisional `phase` of records on disk once the measured window is known."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from harness.errors import ResultsError
from harness.records.folder import RunFolder
from harness.records.reader import decode_line, open_lines
from harness.records.record import Phase


def rewrite_phases(folder: RunFolder, phases: Iterator[Phase]) -> int:
    """Give each record the phase of the same place in `phases` (reading order). Returns how many changed.

    Files without a change are not touched; in the others only changed lines are encoded anew, with the fields
    that this version does not know. A file is replaced in one step.

    Raises:
        ResultsError: a file cannot be rewritten.
    """
    return sum(_rewrite(path, phases) for path in folder.records())


def _rewrite(path: Path, phases: Iterator[Phase]) -> int:
    changes: dict[int, Phase] = {}
    with open_lines(path) as lines:
        for number, line in enumerate(lines):
            record = decode_line(line)
            if record is None:
                continue
            phase = next(phases)
            if phase != record.phase:
                changes[number] = phase
    if not changes:
        return 0
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open_lines(path) as lines, _create(draft, packed=path.suffix == ".gz") as out:
            for number, line in enumerate(lines):
                out.write(_with_phase(line, changes[number]) if number in changes else line)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ResultsError(f"cannot rewrite {path}: {error.strerror}", remedy="free some space") from error
    return len(changes)


def _create(path: Path, *, packed: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "wb")) if packed else path.open("wb")


def _with_phase(line: bytes, phase: Phase) -> bytes:
    fields = msgspec.json.decode(line)
    fields["phase"] = phase
    return msgspec.json.encode(fields) + b"\n"
