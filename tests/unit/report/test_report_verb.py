import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.report import report
from harness.errors import ResultsError, UsageError
from harness.records.folder import RunFolder
from harness.records.record import Record

Make = Callable[..., RunFolder]


@pytest.fixture
def run(make_run: Make, records: list[Record]) -> RunFolder:
    return make_run(records)


def told(*arguments: str, stderr: bool = False) -> str:
    """What the verb prints, on standard output or on standard error. Errors are raised as they are."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(report)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stderr if stderr else result.stdout


def test_the_default_is_the_terminals_summary_and_leaves_a_pipe_alone(run: RunFolder) -> None:
    assert told(str(run.path)) == ""
    assert "session.makespan" in told(str(run.path), stderr=True)


@pytest.mark.parametrize("words", [["--format", "terminal"], ["-O", "-"]])
def test_the_terminals_summary_can_be_piped_where_it_is_asked_for(run: RunFolder, words: list[str]) -> None:
    assert "session.makespan" in told(str(run.path), *words)
    assert told(str(run.path), *words, stderr=True) == ""


def test_a_session_goes_where_the_summary_goes(run: RunFolder) -> None:
    words = (str(run.path), "--session", "slowest")
    assert told(*words) == "" and "makespan" in told(*words, stderr=True)
    assert "makespan" in told(*words, "--format", "terminal") and "makespan" in told(*words, "-O", "-")
    assert json.loads(told(*words, "--json"))["session"]


def test_one_text_format_goes_to_standard_output(run: RunFolder) -> None:
    assert json.loads(told(str(run.path), "--format", "json"))["run"]["name"] == "agents"
    assert told(str(run.manifest), "-f", "md").startswith("## agents")


def test_html_and_several_formats_go_to_the_folder(run: RunFolder) -> None:
    told(str(run.path), "--format", "html")
    assert run.report.read_text().startswith("<!doctype html>")
    told(str(run.path), "--format", "terminal, csv")
    assert (run.path / "report.txt").exists()
    assert (run.path / "report.csv").read_text().startswith("run,name,metric")


def test_a_template_path_serves_several_formats(run: RunFolder, tmp_path: Path) -> None:
    told(str(run.path), "--format", "md,json", "-O", f"{tmp_path}/out/x.{{ext}}")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.json", "x.md"]


def test_one_plain_path_for_two_formats_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one path for 2 formats"):
        told(str(run.path), "--format", "md,json", "-O", str(tmp_path / "x"))


def test_unknown_runs_and_formats_are_one_line(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no run at"):
        told(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="unknown report format 'pdf'"):
        told(str(run.path), "--format", "pdf")
    with pytest.raises(UsageError, match="names no format"):
        told(str(run.path), "--format", ",")


def test_an_interrupted_run_is_told_from_what_reached_the_disk(run: RunFolder) -> None:
    whole = run.records_of(0).read_bytes()
    run.records_of(0).write_bytes(whole[: len(whole) // 2])
    assert "session.makespan" in told(str(run.path), "--format", "terminal")
