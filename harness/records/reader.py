"""Stream records back from disk, past whatever a killed process left behind."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from harness.errors import ResultsError
from harness.records.record import SCHEMA, Record

_BLOCK = 1 << 20
_NAMED = 20

_decoder = msgspec.json.Decoder(Record)


class Damage(msgspec.Struct):
    """What could not be read. `torn` last lines are the normal mark of a kill; `garbage` lines are not."""

    torn: int = 0
    garbage: int = 0
    places: list[str] = []  # file:line of the first twenty garbage lines


def open_lines(path: Path) -> IO[bytes]:
    """A records file for reading, unpacked where its name ends in `.gz`."""
    try:
        if path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error


def read_records(paths: Iterable[Path], damage: Damage | None = None) -> Iterator[Record]:
    """All records of these files, file by file, in the order in which they were written.

    Raises:
        ResultsError: a file cannot be read, or was written by a newer version of `harness`.
    """
    for block in read_blocks(paths, damage):
        yield from block


def read_blocks(paths: Iterable[Path], damage: Damage | None = None) -> Iterator[list[Record]]:
    """The same, in lists of about 1 MB of text each: what a reader of a million records wants."""
    damage = Damage() if damage is None else damage
    for path in paths:
        with open_lines(path) as file:
            yield from _file_blocks(file, path, damage)


def decode_line(line: bytes) -> Record | None:
    """The record of one line; None where the line holds none (torn, garbage, blank)."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _file_blocks(file: IO[bytes], path: Path, damage: Damage) -> Iterator[list[Record]]:
    rest = b""
    line = 0
    while True:
        data = _read(file, path)
        if not data:
            break
        head, newline, tail = (rest + data).rpartition(b"\n")
        rest = tail
        if newline:
            yield _decode(head, path, line, damage)
            line += head.count(b"\n") + 1
    if rest.strip():
        last = decode_line(rest)
        if last is None:
            damage.torn += 1
        else:
            yield _checked([last], path)


def _read(file: IO[bytes], path: Path) -> bytes:
    try:
        return file.read(_BLOCK)
    except (OSError, EOFError, zlib.error) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error


def _decode(text: bytes, path: Path, line: int, damage: Damage) -> list[Record]:
    try:
        return _checked(_decoder.decode_lines(text), path)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    records = []
    for number, part in enumerate(text.split(b"\n"), line + 1):
        record = decode_line(part)
        if record is not None:
            records.append(record)
        elif part.strip():
            damage.garbage += 1
            if len(damage.places) < _NAMED:
                damage.places.append(f"{path.name}:{number}")
    return _checked(records, path)


def _checked(records: list[Record], path: Path) -> list[Record]:
    newest = max((record.schema for record in records), default=0)
    if newest > SCHEMA:
        raise ResultsError(
            f"{path} holds records of schema {newest}; this harness reads up to {SCHEMA}",
            remedy="pip install --upgrade inference-harness",
        )
    return records
