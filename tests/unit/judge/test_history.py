"""Past runs as series, and how they are told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import ResultsError
from harness.judge.history import history
from harness.judge.term import term
from harness.metrics.summary import MetricStats, RunInfo, Summary, TargetInfo, Validity, to_json
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.report.history import markdown, rows_csv, text, trend

TERMS = [term("ttft.p50")]


def run(parent: Path, day: int, ttft: float, **more: Any) -> None:
    """The folder of a run, as far as history reads it."""
    name = more.get("name", "chat")
    folder = RunFolder(parent / f"202611{day:02d}T083400Z-{name}-{day:04x}")
    folder.path.mkdir(parents=True)
    started = f"2026-11-{day:02d}T08:34:00Z"
    summary = Summary(
        run=RunInfo(id=folder.path.name, name=name, started_at=started),
        target=TargetInfo(engine="vllm", engine_version=more.get("version", "0.33"), model="tiny"),
        metrics={"ttft": MetricStats(n=500, p50=ttft, ci95={"p50": (ttft * 0.98, ttft * 1.02)})},
        validity=Validity(verdict=more.get("verdict", "valid")),
    )
    folder.summary.write_bytes(to_json(summary))
    cores = more.get("cores", 2)
    folder.write_manifest(Manifest(run_id="r", name=name, seed=1, started_at=started, machine={"cores": cores}))
    load = {"concurrency": more.get("concurrency", 4)}
    folder.experiment.write_text(yaml.safe_dump({"seed": day, "workload": {"kind": "chat"}, "load": load}))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Twelve runs, slower by 20 % from the eighth on, when the engine was updated; and an invalid one."""
    for day in range(1, 13):
        slower = day >= 8
        run(tmp_path, day, (0.24 if slower else 0.2) + day % 3 / 500, version="0.34" if slower else "0.33")
    run(tmp_path, 13, 9.0, verdict="invalid")
    return tmp_path


def test_a_series_and_its_change(place: Path) -> None:
    found = history(place, TERMS)
    (series,) = found.series
    assert len(series.runs) == 12
    assert found.invalid == 1
    (turn,) = series.turns
    assert (turn.term, turn.started_at) == ("ttft.p50", "2026-11-08T08:34:00Z")
    assert turn.change.after / turn.change.before == pytest.approx(1.2, abs=0.02)


def test_an_invalid_run_is_shown_when_asked_for_but_changes_nothing(place: Path) -> None:
    (series,) = history(place, TERMS, invalid=True).series
    assert len(series.runs) == 13
    assert len(series.turns) == 1
    told = text(history(place, TERMS, invalid=True), 20)
    assert "✗ 2026-11-13" in told and "left out" not in told


@pytest.mark.parametrize(
    ("other", "titles"),
    [
        ({"name": "rag"}, ["chat · vllm · tiny", "rag · vllm · tiny"]),
        ({"cores": 64}, ["chat · vllm · tiny · cores 2", "chat · vllm · tiny · cores 64"]),
        (
            {"concurrency": 8},
            ["chat · vllm · tiny · load.concurrency 4", "chat · vllm · tiny · load.concurrency 8"],
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_apart(place: Path, other: dict[str, Any], titles: list[str]) -> None:
    run(place, 14, 0.5, **other)
    found = history(place, TERMS)
    assert [len(series.runs) for series in found.series] == [12, 1]
    told = text(found, 20)
    assert "fewer than 6 runs" in told
    assert [line.strip() for line in told.splitlines() if " · vllm" in line] == titles


def test_told_as_text_and_markdown(place: Path) -> None:
    told = text(history(place, TERMS), 3)
    assert "12 runs in 1 series · 1 invalid left out (--all shows them)" in told
    assert "9 earlier runs are not shown" in told
    assert "! ttft.p50 +19" in told
    assert "since 2026-11-08 08:34 (20261108T083400Z-chat-0008): 202 ms → 242 ms, p < 0.0001" in told
    assert "242 ms ±5" in told
    assert "▁" in told and "█" in told
    assert "| ✓ 2026-11-12 08:34 | 0.34 |" in markdown(history(place, TERMS), 3)


def test_csv_has_every_run_and_figure(place: Path) -> None:
    header, *rows = csv.reader(io.StringIO(rows_csv(history(place, TERMS))))
    assert len(rows) == 12
    first = dict(zip(header, rows[0], strict=True))
    assert (first["time"], first["ttft.p50"], first["e2e.p50"]) == ("2026-11-01T08:34:00Z", "0.202", "")
    header, *_ = csv.reader(io.StringIO(rows_csv(history(place, TERMS), ["ttft.p50"])))
    assert header[-2:] == ["verdict", "ttft.p50"]


def test_what_cannot_be_read_is_told_and_loses_nothing(place: Path) -> None:
    (place / "broken").mkdir()
    (place / "broken" / "summary.json").write_text("{")
    found = history(place, TERMS)
    assert len(found.series[0].runs) == 12
    assert "not read" in text(found, 20) and "broken" in text(found, 20)


def test_nothing_to_tell_is_an_error(tmp_path: Path, place: Path) -> None:
    with pytest.raises(ResultsError, match="no folder"):
        history(tmp_path / "nowhere", TERMS)
    with pytest.raises(ResultsError, match="no run named x"):
        history(place, TERMS, name="x")


def test_the_verb(place: Path) -> None:
    words = ["history", str(place), "--metric", "ttft.p50", "--name", "chat"]
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["terms"] == ["ttft.p50"]
    assert found["series"][0]["runs"][0]["figures"]["ttft.p50"]["value"] == 0.202
    assert CliRunner().invoke(app, [*words, "-f", "csv"], catch_exceptions=False).stdout.startswith("time,run,name")
    assert "trend" in CliRunner().invoke(app, ["history", str(place)], catch_exceptions=False).stderr


def test_trend() -> None:
    assert trend([1.0, None, 2.0, 1.5]) == "▁ █▅"
    assert trend([1.0]) == trend([2.0, 2.0]) == "–"


def test_it_is_json(place: Path) -> None:
    assert msgspec.json.decode(msgspec.json.encode(history(place, TERMS)))["schema"] == 1
