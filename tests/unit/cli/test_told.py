"""Where a verb tells what it found: people read a terminal, programs read standard output."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import told
from harness.errors import UsageError

RENDERERS = {"terminal": lambda found: f"text of {found}\n", "md": lambda found: f"## {found}\n"}


class Stream(io.StringIO):
    """A stream that is a terminal or none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


Streams = Callable[[], tuple[Stream, Stream]]


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Standard output as a terminal or a pipe, standard error as a terminal. To be called in the test itself: before,
    pytest puts its own there."""

    def make() -> tuple[Stream, Stream]:
        made = Stream(request.param), Stream(True)
        monkeypatch.setattr(sys, "stdout", made[0])
        monkeypatch.setattr(sys, "stderr", made[1])
        return made

    return make


def test_text_that_nobody_asked_for_goes_to_a_terminal(streams: Streams) -> None:
    out, err = streams()
    told.tell("it", RENDERERS)
    told.console().print("more")
    wanted = "text of it\nmore\n"
    assert (out.getvalue(), err.getvalue()) == ((wanted, "") if out.isatty() else ("", wanted))


@pytest.mark.parametrize(
    ("formats", "output", "wanted"),
    [
        ("terminal", None, "text of it\n"),
        (None, "-", "text of it\n"),
        ("md", None, "## it\n"),
        ("md", "-", "## it\n"),
        ("json", None, '"it"\n'),
        ("json", "-", '"it"\n'),
    ],
)
def test_what_was_asked_for_goes_to_standard_output(
    streams: Streams, formats: str | None, output: str | None, wanted: str
) -> None:
    out, err = streams()
    told.tell("it", RENDERERS, formats, output)
    assert (out.getvalue(), err.getvalue()) == (wanted, "")


def test_files_are_named_on_standard_error(streams: Streams, tmp_path: Path) -> None:
    out, err = streams()
    told.tell("it", RENDERERS, "md,json,terminal", str(tmp_path / "out" / "x.{ext}"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.json", "x.md", "x.txt"]
    assert out.getvalue() == "" and err.getvalue().count("wrote ") == 3


@pytest.mark.parametrize(
    ("formats", "output", "said"),
    [("pdf", None, "unknown format 'pdf'"), (",", None, "names no format"), ("md,json", "-", "a path for each")],
)
def test_what_cannot_be_told(formats: str, output: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        told.tell("it", RENDERERS, formats, output)


def test_tables_are_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "93")
    assert told.columns() == 93
    monkeypatch.setenv("COLUMNS", "")
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((77, 24)))
    monkeypatch.setattr(told, "stream", lambda: sys.__stderr__)
    assert told.columns() == 77
    monkeypatch.setattr(told, "stream", io.StringIO)
    assert told.columns() == 120  # no terminal at all


@pytest.mark.parametrize(("quiet", "said"), [(False, " on it goes\n"), (True, "")])
def test_how_it_goes_on(quiet: bool, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    told.progress(quiet)("on it goes")
    assert capsys.readouterr() == ("", said)
