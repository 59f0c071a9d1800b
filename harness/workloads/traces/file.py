"""The file of a trace: read once, in a stream, packed or not, with a list of what could not be used."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import msgspec

from harness.errors import ConfigError

HEAD = 65536  # characters that a format is recognised by
_PIECE = 1 << 20
_TOLD = 5

_T = TypeVar("_T")
_read_json = msgspec.json.Decoder().decode


class TraceFile:
    """One trace: a file, a `.gz` of one, or a folder of JSON files read in the order of their names.

    Attributes:
        rows: rows (lines, array items) that were read.
        skipped: (where, why) of rows that could not be used.
        left_out: reason -> how many rows were left out on purpose.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.skipped: list[tuple[str, str]] = []
        self.left_out: dict[str, int] = {}
        self._name = ""
        base = Path(path).expanduser()
        if base.is_dir():
            self._files = sorted(file for pattern in ("*.json*",) for file in base.glob(pattern) if file.is_file())
        else:
            self._files = [base]
        if not self._files:
            raise ConfigError("workload.path", f"{path} holds no .json or .jsonl files")

    def head(self) -> str:
        """How it begins.

        Raises:
            ConfigError: it cannot be read.
        """
        with self._reading(), self._open(self._files[0]) as stream:
            return stream.read(HEAD)

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number, text) of all lines that are not empty."""
        with self._reading():
            for file in self._files:
                self._name = f"{file.name}:" if len(self._files) > 1 else ""
                with self._open(file) as stream:
                    for number, line in enumerate(stream, 1):
                        if line.strip():
                            self.rows += 1
                            yield number, line

    def json_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, object) of a file with one JSON object a line."""
        for number, line in self.lines():
            if (row := self.usable(number, lambda line=line: _object(_read_json(line)))) is not None:  # type: ignore[misc]
                yield number, row

    def csv_rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, row) of a CSV file with a header."""
        names: list[str] | None = None
        for number, line in self.lines():
            cells = next(csv.reader([line.rstrip("\r\n")]), [])
            if names is None:
                names = [cell.strip().lstrip("\ufeff") for cell in cells]
                self.rows -= 1
            elif len(cells) != len(names):
                self.skip(number, f"{len(cells)} columns where the header has {len(names)}")
            else:
                yield number, dict(zip(names, cells, strict=True))

    def json_items(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, object) of JSON objects one after the other: lines, indented ones, or the items of one array."""
        with self._reading():
            for file in self._files:
                self._name = f"{file.name}:" if len(self._files) > 1 else ""
                with self._open(file) as stream:
                    for line, item in _values(stream):
                        self.rows += 1
                        if isinstance(item, dict):
                            yield line, item
                        else:
                            self.skip(line, str(item) if isinstance(item, Exception) else "no JSON object")

    def usable(self, line: int, make: Callable[[], _T]) -> _T | None:
        """What `make` makes, or None where the row is not usable: it is then skipped."""
        try:
            return make()
        except KeyError as error:
            self.skip(line, f"{error.args[0]} is missing")
        except (ValueError, TypeError, IndexError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
            self.skip(line, str(error))
        return None

    def skip(self, line: int, why: str) -> None:
        """Note a row that cannot be used."""
        self.skipped.append((f"{self._name}{line}", why))

    def leave_out(self, why: str) -> None:
        """Note a row that is sound, but cannot be replayed."""
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def check(self, budget: float) -> None:
        """Raise ConfigError where more than this share of the rows was skipped, or nothing is left."""
        if self.rows and len(self.skipped) <= budget * self.rows:
            return
        if not self.rows:
            raise ConfigError("workload.path", f"{self.path} is empty")
        raise ConfigError(
            "workload.path",
            f"{self.path}: {len(self.skipped):,} of {self.rows:,} rows cannot be used: {self.told()}",
            remedy=f"mend them, or allow for more with workload.error_budget (now {budget:.3g})",
        )

    def told(self) -> str:
        """The first rows that were skipped, in words."""
        first = "; ".join(f"line {where}: {why}" for where, why in self.skipped[:_TOLD])
        return first + ("; ..." if len(self.skipped) > _TOLD else "")

    @staticmethod
    def _open(file: Path) -> TextIO:
        raw = file.open("rb")
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        return io.TextIOWrapper(gzip.open(raw) if packed else raw, encoding="utf-8", errors="replace", newline="")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigError("workload.path", f"cannot read {self.path}: {why}") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _values(stream: TextIO) -> Iterator[tuple[int, Any]]:
    """(line, value) of each JSON value in the stream; of one array, of each item. Damage ends it, as an error."""
    decode = json.JSONDecoder().raw_decode
    text, line, ended, first = "", 1, False, True
    while True:
        rest = text.lstrip(" \t\r\n\ufeff,]" if not first else " \t\r\n\ufeff[")
        line += text[: len(text) - len(rest)].count("\n")
        first = first and not rest
        text = rest
        if text:
            try:
                value, end = decode(text)
            except (ValueError, RecursionError) as error:
                if ended:
                    yield line, error
                    return
            else:
                yield line, value
                line += text.count("\n", 0, end)
                text = text[end:]
                continue
        elif ended:
            return
        more = stream.read(max(_PIECE, len(text)))
        ended = not more
        text += more
