"""`harness report`: tell a finished or interrupted run again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records.folder import RunFolder
    from harness.report.outputs import Outputs

_FILES = ("html", "parquet", "png")  # not for the eye at a shell


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run or a study, results/<run-id>, or any file in it.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="terminal (the default), html, md, json, csv, junit, parquet ...; several by commas."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-O", "--output", help="Where to write; - is standard output. Several formats: PATH.{ext}. Or a URL."
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="Tell one session: its id, its number, or median, p95 or slowest of the measured ones by makespan;"
            " all, with --json.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document; short for --format json.")] = False,
) -> None:
    """Tell a finished or interrupted run again, from its records; or an A/B test, a sweep, a capacity search.

    Example: harness report results/20261121T083400Z-quickstart-3f2a --format md

    With --session one session is drawn as a timeline: harness report results/... --session slowest

    Without -O, a text format that is named goes to standard output, also into a pipe; html, parquet, png, and each of
    several formats go to the run's folder as report.<extension>. With -O and several formats the path must hold {ext},
    as in -O out/run.{ext}. pushgateway is pushed to the URL of a gateway: -O http://HOST:9091.
    """
    from harness.judge.evaluate import evaluate
    from harness.records.folder import RunFolder
    from harness.report.outputs import STDOUT
    from harness.report.terminal import TerminalReport

    if json:
        format = "json"
    if _tell_study(run, format, output, session):
        return
    folder = RunFolder.open(run)
    if session is not None:
        _tell_session(folder, session, format, output)
        return
    names = [name.strip() for name in ("terminal" if format is None else format).split(",") if name.strip()]
    outputs = _outputs(names, output, folder)
    analysis = evaluate(folder)
    if outputs is None:
        TerminalReport().show(analysis, _screen(format))
        return
    outputs.write(analysis)
    for one in outputs.outputs:
        if one.path != STDOUT:
            print(one.done, file=sys.stderr)


def _tell_study(place: Path, format: str | None, output: str | None, session: str | None) -> bool:
    """Tell an A/B test, a sweep or a capacity search again; False where none lies there."""
    from harness.study.files import study_file

    path = study_file(place)
    if path is None:
        return False
    from harness.cli.told import tell
    from harness.errors import UsageError
    from harness.study.stored import REPORT, read_study, renderers

    found = read_study(path)
    if session is not None:
        raise UsageError(f"{place} is a study of several runs", remedy="name one of its runs for --session")
    tell(found, renderers(found), format, str(path.with_name(REPORT)) if format == "html" and not output else output)
    return True


def _tell_session(folder: RunFolder, name: str, format: str | None, output: str | None) -> None:
    """One session, as a timeline or as JSON, on standard output or in a file."""
    from harness.cli.told import tell
    from harness.errors import UsageError
    from harness.judge.evaluate import evaluate
    from harness.metrics.session_detail import find_session, session_detail, session_details
    from harness.report.timeline import show, timeline

    analysis = evaluate(folder)
    if name == "all":
        tell(list(session_details(analysis)), {}, format, output)
        return
    found = find_session(analysis, name)
    if found is None:
        some = ", ".join(analysis.table.names["session"][:3]) or "none"
        raise UsageError(
            f"there is no session {name!r} among the {analysis.sessions.n} of this run",
            remedy=f"an id ({some}, ...), a number, median, p95 or slowest",
        )
    detail = session_detail(analysis, found)
    if format in (None, "terminal") and output is None:
        show(detail, _screen(format))
    else:
        tell(detail, {"terminal": timeline}, format, output)


def _outputs(names: list[str], output: str | None, folder: RunFolder) -> Outputs | None:
    """Where each format goes; None for the terminal's own summary."""
    from harness import registry
    from harness.errors import UsageError
    from harness.report.outputs import STDOUT, Outputs
    from harness.report.protocol import GROUP

    if names == ["terminal"] and output is None:
        return None
    if not names:
        raise UsageError("--format names no format", remedy=f"one of {', '.join(registry.names(GROUP))}")
    extensions = {name: registry.load(GROUP, name).extension for name in names}
    if output is None:
        if "pushgateway" in names:
            raise UsageError(
                "pushgateway needs a gateway", remedy="-O http://HOST:9091, or -O - to see what it would get"
            )
        alone = len(names) == 1 and names[0] not in _FILES
        places = {name: STDOUT if alone else str(folder.path / f"report.{extensions[name]}") for name in names}
    elif len(names) > 1 and "{ext}" not in output:
        raise UsageError(f"-O {output} is one path for {len(names)} formats", remedy="put {ext} into it: run.{ext}")
    else:
        places = {name: output.replace("{ext}", extensions[name]) for name in names}
    return Outputs.parse(f"{name}={place}" for name, place in places.items())


def _screen(format: str | None) -> Console:
    """Where the text of a terminal goes: to standard output in any case, where it was asked for by name."""
    from harness.cli.told import console

    return console(None if format is None else sys.stdout)
