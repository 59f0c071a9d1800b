from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ResultsError
from harness.records.telemetry import (
    Device,
    Histogram,
    Idle,
    Notice,
    Sample,
    TelemetryLog,
    TelemetryWriter,
    read_telemetry,
)


def write(path: Path, *lines: Sample | Notice | Idle) -> None:
    writer = TelemetryWriter(path)
    for line in lines:
        writer.write(line)
    writer.close()
    writer.close()


def histogram(*counts: float, bounds: list[float] | None) -> Histogram:
    return Histogram(counts=list(counts), sum=1.5, bounds=bounds)


def test_what_is_written_is_read_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    late = Sample(source="nvml", t_ns=5, devices={"GPU-1": Device(kind="gpu", joules=3.0, shared=True)})
    early = Sample(source="process", t_ns=-5, took_ns=2, values={"host_busy_s": 1.0})
    notice = Notice(source="rapl", t_ns=0, code="telemetry_missing", severity="info", message="none")
    write(path, late, notice, early, Idle(start_ns=-9, end_ns=-6))
    log = read_telemetry(path)
    assert log == TelemetryLog(samples=[early, late], notices=[notice], idle=Idle(start_ns=-9, end_ns=-6))
    assert log.of("nvml", "amdsmi") == [late]


def test_bounds_are_written_once_until_they_change(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    bounds = [[0.1, 1.0], [0.1, 1.0], [0.2, 1.0], [0.2, 1.0]]
    samples = [
        Sample(source="prometheus", t_ns=t, histograms={"ttft": histogram(1, 2, t, bounds=list(b))})
        for t, b in enumerate(bounds)
    ]
    write(path, *samples)
    assert [b'bounds":[' in line for line in path.read_bytes().splitlines()] == [True, False, True, False]
    assert [sample.histograms["ttft"].bounds for sample in read_telemetry(path).samples] == bounds
    assert samples[1].histograms["ttft"].bounds == bounds[1]  # the writer leaves its argument alone


def test_a_histogram_whose_bounds_are_lost_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    write(path, *(Sample(source="p", t_ns=t, histograms={"ttft": histogram(1, 2, bounds=[0.1])}) for t in (0, 1)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0][:40] + b"\n" + lines[1])
    (sample,) = read_telemetry(path).samples
    assert sample.t_ns == 1 and not sample.histograms


@given(st.binary(max_size=60))
def test_a_torn_or_foreign_line_costs_itself_alone(tmp_path_factory: pytest.TempPathFactory, rubbish: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "telemetry.jsonl"
    write(path, Sample(source="a", t_ns=1))
    path.write_bytes(b"[" + rubbish.replace(b"\n", b"") + b"\n" + path.read_bytes() + b'{"line":"sample","sou')
    assert [sample.source for sample in read_telemetry(path).samples] == ["a"]


def test_no_file_is_an_empty_log(tmp_path: Path) -> None:
    assert read_telemetry(tmp_path / "none.jsonl") == TelemetryLog()


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot read"):
        read_telemetry(tmp_path)
    with pytest.raises(ResultsError, match="cannot write"):
        TelemetryWriter(tmp_path / "no" / "such")


def test_each_line_is_on_disk_when_write_returns(tmp_path: Path) -> None:
    writer = TelemetryWriter(tmp_path / "telemetry.jsonl")
    writer.write(Sample(source="a", t_ns=1))
    assert os.path.getsize(writer.path) == len(b'{"line":"sample","source":"a","t_ns":1}\n')
    writer.close()
