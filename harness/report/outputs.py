"""Where reports go. Checked before the run, so that an hour of load does not end in a typing error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import registry
from harness.errors import UsageError
from harness.records.folder import write_whole
from harness.report.protocol import GROUP, Report

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

STDOUT = "-"


@dataclass(frozen=True)
class Output:
    """One report and its place; `-` is standard output."""

    report: Report
    path: str

    def write(self, analysis: Analysis) -> None:
        """Render and write, in one step. Raises ResultsError where it cannot be written any more."""
        told = self.report.render(analysis)
        data = told.encode() if isinstance(told, str) else told
        if self.path != STDOUT:
            write_whole(Path(self.path), data)
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@dataclass(frozen=True)
class Outputs:
    """All reports asked for."""

    outputs: tuple[Output, ...] = ()

    @classmethod
    def parse(cls, asked: Iterable[str]) -> Outputs:
        """From `FORMAT=PATH` texts; `-` is standard output, which one report may have.

        Raises:
            UsageError: an unknown format, a text without `=`, or a path that cannot be written.
        """
        outputs = tuple(_output(text) for text in asked)
        paths = [output.path for output in outputs]
        for path in paths:
            if paths.count(path) > 1:
                raise UsageError(f"two reports would be written to {path}", remedy="give each a path of its own")
        return cls(outputs)

    def write(self, analysis: Analysis) -> None:
        """Write all of them."""
        for output in self.outputs:
            output.write(analysis)


def _output(text: str) -> Output:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise UsageError(f"--report {text}: no path", remedy="write FORMAT=PATH, for example html=report.html")
    report: Report = registry.load(GROUP, name.strip())()
    if path != STDOUT:
        check_writable(Path(path))
    return Output(report, path)


def check_writable(path: Path) -> None:
    """Raise UsageError where a file could not be written there. An existing file is left as it is."""
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder", remedy="name a file")
    existed = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", remedy="give a path in a folder you may write to"
        ) from error
    if not existed:
        path.unlink()
