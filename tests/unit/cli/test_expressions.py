"""An SLO or a gate that cannot be understood is told by every verb that would run, before anything is sent or made."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import ExitCode, ExpressionError

CONFIG = """\
name: judged
backend: {kind: openai, url: "http://127.0.0.1:9/v1", model: m}
workload: {kind: chat, turns: 1}
load: {concurrency: 1, sessions: 1}
sweep: {load.concurrency: [1, 2]}
"""


@pytest.mark.parametrize("key", ["slo", "gate"])
@pytest.mark.parametrize(
    "words",
    [
        ("plan", "c.yaml"),
        ("run", "c.yaml"),
        ("run", "c.yaml", "--dry-run"),
        ("sweep", "c.yaml"),
        ("capacity", "c.yaml"),
        ("ab", "c.yaml", "c.yaml"),
    ],
)
def test_a_wrong_expression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], key: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(f'{CONFIG}{key}: ["ttft.p95 <"]\n')
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, ExpressionError) and "ttft.p95 <" in error.message
    assert error.exit_code is ExitCode.USAGE
    assert not Path("results").exists()


def test_a_wrong_expression_at_one_point_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = 'sweep: {slo.0: ["ttft.p95 < 1s", "ttfft.p95 < 1s"]}\n'
    Path("c.yaml").write_text(CONFIG.replace("sweep: {load.concurrency: [1, 2]}\n", f'{sweep}slo: ["e2e.p50 < 1s"]\n'))
    assert isinstance(CliRunner().invoke(app, ["sweep", "c.yaml"]).exception, ExpressionError)
    assert not Path("results").exists()


def test_a_wrong_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)
    assert isinstance(CliRunner().invoke(app, ["capacity", "c.yaml", "--slo", "ttft.p95 <"]).exception, ExpressionError)
