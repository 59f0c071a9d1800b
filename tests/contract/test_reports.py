"""What every registered report must do, ours or a plug-in's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import registry
from harness.errors import UsageError
from harness.judge.evaluate import evaluate
from harness.metrics.analysis import Analysis
from harness.metrics.summary import to_json
from harness.records import manifest as manifests
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record, encode_record
from harness.report.protocol import GROUP, Report

MS = 1_000_000
CASES = ("good", "failed", "empty", "cut")
BINARY = ("parquet", "png")
HOSTILE = "<script>\x1b[2J|`"


def _record(number: int, case: str) -> Record:
    begin = number * 100 * MS
    known: dict[str, Any] = {
        "id": f"r{number}",
        "session": f"s{number:07d}",
        "node": HOSTILE,
        "intended_ns": begin,
        "sent_ns": begin,
        "end_ns": begin + 80 * MS,
    }
    if case == "failed":
        return Record(**known, status="failed", error="http_500", error_detail=HOSTILE, http_status=500)
    return Record(
        **known,
        first_token_ns=begin + (20 + number % 7) * MS,
        first_output_ns=begin + (20 + number % 7) * MS,
        last_token_ns=begin + 80 * MS,
        input_tokens=100,
        output_tokens=3,
        tokens_source="estimate",
        chunks=3,
        chunk_us=[20_000, 50_000, 80_000],
    )


def _run(folder: Path, case: str) -> Analysis:
    run = RunFolder(folder)
    load = {"rate": 10.0} if case == "cut" else {"concurrency": 1}
    run.experiment.write_text(yaml.safe_dump({"name": "x", "workload": {"kind": "chat"}, "load": load}))
    target = {"backend": "sim", "model": HOSTILE, "simulated": True}
    ended = None if case == "cut" else "2026-11-21T08:35:00Z"
    facts = Manifest(run_id="r", name=HOSTILE, seed=1, started_at="2026-11-21T08:34:00Z", ended_at=ended, target=target)
    run.manifest.write_bytes(manifests.to_json(facts))
    records = [] if case == "empty" else [_record(number, case) for number in range(80)]
    run.records_of(0).write_bytes(b"".join(encode_record(record) + b"\n" for record in records))
    return evaluate(run)


@pytest.fixture(params=CASES)
def analysis(request: pytest.FixtureRequest, tmp_path: Path) -> Analysis:
    return _run(tmp_path, request.param)


def _needs_a_font() -> None:
    from harness.report import png

    try:
        png._font()
    except UsageError:
        pytest.skip("WITHOUT a font: install one (Debian: apt install fonts-dejavu-core)")


@pytest.fixture(params=registry.names(GROUP))
def report(request: pytest.FixtureRequest) -> Report:
    if request.param == "png":
        _needs_a_font()
    made: Report = registry.load(GROUP, request.param)()
    assert made.name == request.param
    return made


def test_it_tells_every_run_the_same_way_twice_and_changes_nothing(report: Report, analysis: Analysis) -> None:
    before = to_json(analysis.summary)
    told = report.render(analysis)
    assert told
    assert report.render(analysis) == told
    assert to_json(analysis.summary) == before


def test_it_is_text_in_utf8_without_escape_codes(report: Report, analysis: Analysis) -> None:
    told = report.render(analysis)
    if report.name in BINARY:
        assert isinstance(told, bytes)
        return
    text = told if isinstance(told, str) else told.decode()
    assert "\x1b" not in text
    assert text.endswith("\n")


def test_its_extension_is_one_word(report: Report) -> None:
    assert report.extension.isalnum()


def test_it_does_not_invent_figures(report: Report, tmp_path: Path) -> None:
    """A run without a success has no latency: nothing is told in milliseconds."""
    analysis = _run(tmp_path, "failed")
    assert analysis.summary.metrics == {}
    told = report.render(analysis)
    text = told if isinstance(told, str) else told.decode(errors="replace")
    if report.name == "json":
        assert json.loads(text)["metrics"] == {}
    body = text.partition('<script type="application/json"')[0]
    assert " ms" not in body.partition('<h2 id="h-words">')[0]
