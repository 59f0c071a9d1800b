"""Shards of one load, made by hand, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ResultsError, UsageError
from harness.metrics.summarise import summarise
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest, ShardOf, WorkerReport
from harness.records.merge import merge_shards
from harness.records.reader import read_records
from harness.records.record import Record, encode_record
from harness.records.telemetry import Histogram, Notice, Sample, TelemetryWriter, read_telemetry

SESSIONS = 7
CONFIG = "name: parts\nworkload: {kind: chat}\nload: {rate: 10.0}\n"


def shard(
    parent: Path, index: int, of: int = 3, *, config: str = CONFIG, clock: dict[str, Any] | None = None, **changes: Any
) -> RunFolder:
    """One shard of a plan of seven sessions, one request each, 100 ms apart."""
    folder = RunFolder.create(parent, "parts")
    folder.experiment.write_text(config)
    lines = [
        encode_record(
            Record(
                id=f"abcd-{number}-a",
                session=f"s{number}",
                session_requests=1,
                node="a",
                worker=index,
                intended_ns=number * 100_000_000,
                sent_ns=number * 100_000_000,
                first_token_ns=number * 100_000_000 + 20_000_000,
                last_token_ns=number * 100_000_000 + 50_000_000,
                end_ns=number * 100_000_000 + 50_000_000,
                output_tokens=4,
                tokens_source="server",
            )
        )
        for number in range(index, SESSIONS, of)
    ]
    folder.records_of(index).write_bytes(b"".join(line + b"\n" for line in lines))
    wall = {"boot": "one", "synchronised": False, "max_error_s": None}
    told: dict[str, Any] = {
        "run_id": folder.id,
        "name": "parts",
        "seed": 1,
        "started_at": f"2026-11-21T10:00:0{index}Z",
        "ended_at": f"2026-11-21T10:00:1{index}Z",
        "plan_sha256": "f" * 64,
        "planned_sessions": SESSIONS,
        "machine": {"steal_share": index / 1000},
        "clock": {"start_at": "2026-11-21T10:00:01Z", "wall": wall, "t0_monotonic_ns": 1000 + index, **(clock or {})},
        "target": {"model": "tiny", "engine": "sim", "engine_version": "1"},
        "workers": [WorkerReport(worker=index, end_ns=1, requests=len(lines))],
        "shard": ShardOf(index, of),
        "findings": [{"code": "shard", "severity": "info", "message": "a part"}],
    }
    folder.write_manifest(Manifest(**(told | changes)))
    return folder


def codes(manifest: Manifest) -> dict[str, str]:
    return {finding["code"]: finding["severity"] for finding in manifest.findings}


def test_all_shards_are_the_whole(tmp_path: Path) -> None:
    parts = [shard(tmp_path, index) for index in (2, 0, 1)]
    merged = merge_shards(parts, tmp_path / "out")
    assert [record.session for record in read_records(merged.records())] == ["s0", "s3", "s6", "s1", "s4", "s2", "s5"]
    for part in parts:
        [path] = part.records()
        assert (merged.path / path.name).read_bytes() == path.read_bytes()
    assert merged.experiment.read_text() == CONFIG
    manifest = merged.read_manifest()
    assert manifest.shard is None and manifest.findings == []
    assert (manifest.run_id, manifest.plan_sha256, manifest.planned_sessions) == (merged.id, "f" * 64, SESSIONS)
    assert (manifest.started_at, manifest.ended_at) == ("2026-11-21T10:00:00Z", "2026-11-21T10:00:12Z")
    assert [worker.worker for worker in manifest.workers] == [0, 1, 2]
    assert [part["shard"] for part in manifest.shards] == ["0/3", "1/3", "2/3"]
    assert manifest.machine["steal_share"] == 0.002  # the worst machine decides
    assert manifest.clock == {"start_at": "2026-11-21T10:00:01Z", "machines": 1, "offset_max_s": 2e-9}
    assert summarise(merged).summary.counts.sessions.finished == SESSIONS


def test_the_worst_of_all_machines_counts(tmp_path: Path) -> None:
    machine = {"steal_share": 0.001, "nodes": {"a": {"steal_share": None}, "b": {"steal_share": 0.05}}}
    parts = [shard(tmp_path, 0), shard(tmp_path, 1, machine=machine), shard(tmp_path, 2)]
    findings = {finding.code: finding for finding in summarise(parts[1]).summary.validity.findings}
    assert findings["steal"].value == 0.05 and findings["steal"].severity == "error"
    assert set(merge_shards(parts, tmp_path / "out").read_manifest().machine["nodes"]) == {"a", "b"}


def test_a_shard_counts_its_own_share(tmp_path: Path) -> None:
    folder = shard(tmp_path, 1, warmup_sessions=2)
    assert folder.read_manifest().planned_share == 2
    assert folder.read_manifest().warmup_share == 1
    counts = summarise(folder).summary.counts
    assert (counts.sessions.planned, counts.sessions.finished) == (1, 1)


def test_a_missing_shard_makes_the_run_invalid(tmp_path: Path) -> None:
    merged = merge_shards([shard(tmp_path, 0), shard(tmp_path, 2)], tmp_path)
    validity = summarise(merged).summary.validity
    [finding] = [finding for finding in validity.findings if finding.severity == "error"]
    assert (finding.code, validity.verdict) == ("shards_missing", "invalid")
    assert finding.message == "1 of 3 shards are missing (1/3): so is their part of the load"


def test_a_shard_that_was_killed(tmp_path: Path) -> None:
    parts = [shard(tmp_path, 0), shard(tmp_path, 1, ended_at=None), shard(tmp_path, 2)]
    parts[1].records_of(1).write_bytes(parts[1].records_of(1).read_bytes()[:-20])
    merged = merge_shards(parts, tmp_path)
    assert codes(merged.read_manifest()) == {"shards_cut": "error"}
    assert merged.read_manifest().ended_at is None
    assert sum(1 for _ in read_records(merged.records())) == SESSIONS - 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plan_sha256": "e" * 64}, "the plan of .* is e{16}, that of .* f{16}"),
        ({"shard": ShardOf(1, 4)}, "the number of shards of .* is 4, that of .* 3"),
        ({"clock": {"start_at": "2026-11-21T10:00:02Z"}}, "the start of .* is 2026-11-21T10:00:02Z"),
        ({"shard": ShardOf(0, 3)}, "shard 0/3 is there twice"),
        ({"shard": None}, "is no shard"),
    ],
)
def test_what_is_no_part_of_the_same_load(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    parts = [shard(tmp_path, 0), shard(tmp_path, 1, **change)]
    with pytest.raises(UsageError, match=said):
        merge_shards(parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["records-0.jsonl", "records-7.jsonl"])
def test_a_record_that_is_there_twice(tmp_path: Path, name: str) -> None:
    parts = [shard(tmp_path, index) for index in range(3)]
    (parts[1].path / name).write_bytes(parts[0].records_of(0).read_bytes())
    with pytest.raises(ResultsError, match=r"twice|in two of the shards"):
        merge_shards(parts, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_differs_is_told(tmp_path: Path) -> None:
    other = {"model": "tiny", "engine": "sim", "engine_version": "2"}
    parts = [shard(tmp_path, 0), shard(tmp_path, 1, config=CONFIG + "slo: []\n", target=other), shard(tmp_path, 2)]
    manifest = merge_shards(parts, tmp_path).read_manifest()
    assert codes(manifest) == {"shards_differ": "warning"}
    assert "config of 1/3, engine_version of 1/3" in manifest.findings[0]["message"]


@pytest.mark.parametrize(
    ("synchronised", "most", "severity"), [(True, 0.03, "info"), (False, None, "warning"), (None, None, "warning")]
)
def test_clocks_of_several_machines(tmp_path: Path, synchronised: bool | None, most: float, severity: str) -> None:
    parts = []
    for index in range(3):
        bound = 0.01 * index if synchronised else None
        wall = {"boot": f"machine {index}", "synchronised": synchronised, "max_error_s": bound}
        parts.append(shard(tmp_path, index, clock={"wall": wall}))
    manifest = merge_shards(parts, tmp_path).read_manifest()
    assert manifest.clock["machines"] == 3 and manifest.clock["offset_max_s"] == most
    assert codes(manifest) == {"clock_offset": severity}


def test_the_slowest_calibration_or_none(tmp_path: Path) -> None:
    def told(events: float) -> dict[str, Any]:
        return {"ceiling": {"events_per_cpu_second": events}}

    parts = [shard(tmp_path, index, calibration=told(9e4 - index)) for index in range(3)]
    assert merge_shards(parts, tmp_path).read_manifest().calibration == told(9e4 - 2)
    parts[1] = shard(tmp_path, 1)
    assert merge_shards(parts, tmp_path).read_manifest().calibration is None


def test_each_source_of_telemetry_once(tmp_path: Path) -> None:
    parts = [shard(tmp_path, index) for index in range(3)]
    for index, sources in enumerate((("process",), ("process", "prometheus"), ("prometheus",))):
        writer = TelemetryWriter(parts[index].telemetry)
        for source in sources:
            for t_ns in (0, 10):
                counts = Histogram(counts=[float(index), 1.0], sum=1.0, bounds=[1.0])
                writer.write(Sample(source=source, t_ns=t_ns, values={"x": float(index)}, histograms={"h": counts}))
        if index == 0:
            writer.write(Notice(source="prometheus", t_ns=1, code="telemetry_missing", severity="info", message="no"))
        writer.close()
    log = read_telemetry(merge_shards(parts, tmp_path).telemetry)
    assert [sample.values["x"] for sample in log.of("process")] == [0.0, 0.0]
    assert [sample.values["x"] for sample in log.of("prometheus")] == [1.0, 1.0]
    assert log.notices == []  # another shard had it
    assert all(sample.histograms["h"].bounds == [1.0] for sample in log.samples)


def test_the_manifest_reads_back(tmp_path: Path) -> None:
    manifest = shard(tmp_path, 1).read_manifest()
    assert manifest.shard == ShardOf(1, 3) and str(manifest.shard) == "1/3"
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest
