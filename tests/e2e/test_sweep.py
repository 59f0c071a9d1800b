"""`harness sweep`: a grid of runs that survives failed points and is taken up again where it ended."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

CONFIG = """\
name: grid
backend: {kind: sim, ttft: 10ms, itl: 1ms}
workload: {kind: chat, turns: 1, output_tokens: 8, think: 0, system_tokens: 0, input_tokens: 8}
load: {concurrency: 1, sessions: 12}
cost: {gpu_hour: 2}
sweep: {load.concurrency: [1, 4], backend.options: [[], ["--no-such-option"]]}
"""

Cli = Callable[..., CompletedProcess[str]]


def test_a_failed_point_loses_no_other_and_finished_ones_are_kept(run_harness: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = run_harness("sweep", "config.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    points = found["points"]
    assert [point["values"] for point in points] == [
        {"load.concurrency": concurrency, "backend.options": options}
        for concurrency in (1, 4)
        for options in ([], ["--no-such-option"])
    ]
    assert [point["state"] for point in points] == ["done", "failed", "done", "failed"]
    assert "did not start" in points[1]["error"]
    assert not any(point["resumed"] for point in points)
    folder = tmp_path / found["folder"]
    assert json.loads((folder / "sweep.json").read_text()) == found
    assert (folder / "sweep.md").read_text().startswith("## ✗ grid")
    page = (folder / "report.html").read_text()
    told = run_harness("report", found["folder"], "--format", "html", "-O", "again.html", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "again.html").read_text() == page and "4 points, 2 failed" in page
    told = run_harness("report", found["folder"], "--session", "p95", cwd=tmp_path)
    assert told.returncode == 2 and "a study of several runs" in told.stderr

    shutil.rmtree(tmp_path / points[2]["folder"])
    again = run_harness("sweep", "config.yaml", "--format", "csv", cwd=tmp_path)
    assert again.returncode == 3
    rows = list(csv.DictReader(io.StringIO(again.stdout)))
    assert [row["state"] for row in rows] == ["done", "failed", "done", "failed"]
    assert rows[0]["folder"] == points[0]["folder"]
    assert rows[2]["folder"] != points[2]["folder"]
    kept = json.loads((folder / "sweep.json").read_text())["points"]
    assert [point["resumed"] for point in kept] == [True, False, False, False]


def test_what_can_be_wrong_is_told_before_anything_runs(run_harness: Cli, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(CONFIG.partition("sweep:")[0])
    (tmp_path / "bad.yaml").write_text(CONFIG.replace("[1, 4]", "[1, -4]"))
    for name, word in (("none.yaml", "sweep"), ("bad.yaml", "concurrency")):
        done = run_harness("sweep", name, cwd=tmp_path)
        assert done.returncode == 2
        assert word in done.stderr
    assert not (tmp_path / "results").exists()
