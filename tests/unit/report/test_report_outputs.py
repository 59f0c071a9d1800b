import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.metrics.analysis import Analysis
from harness.report.outputs import Outputs


def test_reports_are_written_where_they_were_asked_for(tmp_path: Path, analysis: Analysis) -> None:
    outputs = Outputs.parse([f"json={tmp_path}/deep/a.json", f"md={tmp_path}/b.md"])
    assert not (tmp_path / "b.md").exists()
    outputs.write(analysis)
    assert (tmp_path / "deep/a.json").read_bytes().startswith(b"{")
    assert (tmp_path / "b.md").read_text().startswith("## agents")


def test_standard_output(analysis: Analysis, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Outputs.parse(["json=-"]).write(analysis)
    assert capfdbinary.readouterr().out.startswith(b'{\n  "schema"')


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("html", "no path"),
        ("html=", "no path"),
        ("htm=x.html", "Did you mean html?"),
        ("json={tmp}", "it is a folder"),
        ("json={tmp}/file/x.json", "cannot write"),
    ],
)
def test_mistakes_are_told_before_the_run(tmp_path: Path, asked: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        Outputs.parse([asked.format(tmp=tmp_path)])


def test_two_reports_do_not_share_a_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two reports"):
        Outputs.parse([f"json={tmp_path}/x", f"md={tmp_path}/x"])


def test_a_file_that_is_there_stays_until_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("old")
    Outputs.parse([f"json={tmp_path}/x.json"])
    assert (tmp_path / "x.json").read_text() == "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        Outputs.parse([f"json={tmp_path}/x.json"])
