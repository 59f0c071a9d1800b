"""Where reports go. Checked before the run, so that an hour of load does not end in a typing error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness import registry
from harness.errors import UsageError
from harness.records.folder import write_whole
from harness.report.protocol import GROUP, PushedReport, Report

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

STDOUT = "-"
_PICTURES = ("svg", "png")


@dataclass(frozen=True)
class Output:
    """One report and its place: a file, `-` for standard output, or the URL of a service."""

    report: Report
    path: str

    @property
    def done(self) -> str:
        """What to say when it is written. A URL is told without its userinfo."""
        if not is_url(self.path):
            return f"wrote {self.path}"
        parts = urlsplit(self.path)
        return f"pushed to {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"

    def write(self, analysis: Analysis) -> None:
        """Render and write, in one step. Raises ResultsError where it cannot be written any more."""
        if is_url(self.path) and isinstance(self.report, PushedReport):
            self.report.push(analysis, self.path)
            return
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
        """From `FORMAT=PATH` texts; `-` is standard output, which one report may have. The path of a report that is
        pushed is a URL.

        Raises:
            UsageError: an unknown format, a text without `=`, or a path that cannot be written.
        """
        outputs = tuple(_output(text) for text in asked)
        paths = [output.path for output in outputs]
        for path in paths:
            if paths.count(path) > 1:
                raise UsageError(f"two reports would be written to {path}", remedy="give each a path of its own")
        return cls(tuple(_illustrated(output, outputs) for output in outputs))

    def write(self, analysis: Analysis) -> None:
        """Write all of them."""
        for output in self.outputs:
            output.write(analysis)


def _output(text: str) -> Output:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise UsageError(f"--report {text}: no path", remedy="write FORMAT=PATH, for example html=report.html")
    report: Report = registry.load(GROUP, name.strip())()
    pushed = isinstance(report, PushedReport)
    if is_url(path) != pushed and path != STDOUT:
        if pushed:
            raise UsageError(f"{name} is pushed: {path} is no URL", remedy=f"write {name}=http://HOST:PORT")
        raise UsageError(f"cannot write {name} to {path}: it is a URL", remedy="give the path of a file")
    if path != STDOUT and not pushed:
        check_writable(Path(path))
    return Output(report, path)


def is_url(path: str) -> bool:
    """Whether a place is a service's and no file's."""
    return path.startswith(("http://", "https://"))


def _illustrated(output: Output, all_of_them: tuple[Output, ...]) -> Output:
    """A report that can show a picture shows the one that is written in the same go."""
    illustrate = getattr(output.report, "illustrated", None)
    pictures = [other.path for other in all_of_them if other.report.extension in _PICTURES and other.path != STDOUT]
    if illustrate is None or output.path == STDOUT or not pictures:
        return output
    path = os.path.relpath(pictures[0], Path(output.path).parent)
    return Output(illustrate(Path(path).as_posix()), output.path)


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
