"""The shards of one load, run apart, put together into one run. Records are copied as they are, byte by byte.

Every shard's times run from the same instant of the wall clock, so they already lie on one axis; what remains is how
far the clocks of their machines were apart, and that is written down.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import ResultsError, UsageError
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest, ShardOf
from harness.records.reader import open_lines
from harness.records.telemetry import Line, TelemetryLog, TelemetryWriter, read_telemetry


class _Named(msgspec.Struct):
    id: str
    session: str
    attempt: int = 1


_decode = msgspec.json.Decoder(_Named).decode


class _Part:
    """One shard's folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.manifest = folder.read_manifest()
        if self.manifest.shard is None:
            raise UsageError(f"{folder.path} is no shard", remedy="shards are made by harness run --shard I/N")
        self.shard: ShardOf = self.manifest.shard


def merge_shards(folders: Sequence[RunFolder], out: Path) -> RunFolder:
    """Put shards together into a new run below `out`, ready to be summarised. A shard that is missing is a finding
    that makes the run invalid.

    Raises:
        UsageError: these are not shards of one load: another plan, another division, another start, or one twice.
        ResultsError: a folder cannot be read or written, or two hold the same request.
    """
    parts = sorted(map(_Part, folders), key=lambda part: part.shard.index)
    _check(parts)
    merged = RunFolder.create(out, parts[0].manifest.name)
    try:
        _copy_records(parts, merged)
        _copy_telemetry(parts, merged)
        shutil.copyfile(parts[0].folder.experiment, merged.experiment)
    except OSError as error:
        shutil.rmtree(merged.path, ignore_errors=True)
        raise ResultsError(f"cannot copy into {merged.path}: {error}") from error
    except BaseException:
        shutil.rmtree(merged.path, ignore_errors=True)
        raise
    merged.write_manifest(_manifest(parts, merged))
    return merged


def _check(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for what, mine, theirs in (
            ("plan", part.manifest.plan_sha256[:16], first.manifest.plan_sha256[:16]),
            ("number of shards", part.shard.of, first.shard.of),
            ("start", part.manifest.clock.get("start_at"), first.manifest.clock.get("start_at")),
        ):
            if mine != theirs:
                told = f"the {what} of {part.folder.path} is {mine}, that of {first.folder.path} {theirs}"
                raise UsageError(
                    f"these are not shards of one load: {told}",
                    remedy="give all shards the same config, seed, N and --start-at",
                )
    for one, other in pairwise(parts):
        if one.shard == other.shard:
            raise UsageError(f"shard {one.shard} is there twice: {one.folder.path} and {other.folder.path}")


def _copy_records(parts: Sequence[_Part], merged: RunFolder) -> None:
    """Every records file under its own name: workers are numbered throughout the shards.

    Raises:
        ResultsError: a request is there twice, or one is not of its shard.
    """
    seen: set[tuple[str, int]] = set()
    for part in parts:
        for path in part.folder.records():
            target = merged.path / path.name
            if target.exists():
                raise ResultsError(f"{path.name} is in two of the shards: was a file copied by hand?")
            with open_lines(path) as lines:
                for line in lines:
                    try:
                        record = _decode(line)
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        continue  # torn by a kill, or garbage: whoever reads the merged run tells
                    key = record.id, record.attempt
                    if key in seen:
                        raise ResultsError(f"the record {record.id} of {path} is there twice: it was not merged")
                    seen.add(key)
            shutil.copyfile(path, target)


def _copy_telemetry(parts: Sequence[_Part], merged: RunFolder) -> None:
    """Each source as the first shard that has it saw it: all of them look at the same engine."""
    logs = [read_telemetry(part.folder.telemetry) for part in parts]
    owner: dict[str, TelemetryLog] = {}
    for log in logs:
        for sample in log.samples:
            owner.setdefault(sample.source, log)
    for log in logs:
        for notice in log.notices:
            owner.setdefault(notice.source, log)
    lines: list[Line] = [log.idle for log in logs[:1] if log.idle is not None]
    lines += [notice for log in logs for notice in log.notices if owner[notice.source] is log]
    lines += [sample for log in logs for sample in log.samples if owner[sample.source] is log]
    if lines:
        writer = TelemetryWriter(merged.telemetry)
        for line in lines:
            writer.write(line)
        writer.close()


def _manifest(parts: Sequence[_Part], merged: RunFolder) -> Manifest:
    """The first shard's manifest, with what is of all."""
    all_of = [part.manifest for part in parts]
    first = all_of[0]
    ends = [manifest.ended_at for manifest in all_of]
    clock = _clock(all_of)
    return msgspec.structs.replace(
        first,
        run_id=merged.id,
        started_at=min(manifest.started_at for manifest in all_of),
        ended_at=None if None in ends else max(end for end in ends if end is not None),
        interrupted=any(manifest.interrupted for manifest in all_of),
        machine=_machine(all_of),
        calibration=_slowest(all_of),
        clock=clock,
        workers=sorted((worker for one in all_of for worker in one.workers), key=lambda worker: worker.worker),
        shard=None,
        shards=[_told(part) for part in parts],
        findings=[
            *(told for manifest in all_of for told in manifest.findings if told.get("code") != "shard"),
            *_missing(parts),
            *_cut(parts),
            *_differences(parts),
            *_clock_finding(clock),
        ],
    )


def _told(part: _Part) -> dict[str, Any]:
    """What the merged manifest keeps of a shard."""
    manifest = part.manifest
    kept = {name: getattr(manifest, name) for name in ("run_id", "started_at", "ended_at", "machine", "clock")}
    return {"shard": str(part.shard), "workers": [worker.worker for worker in manifest.workers], **kept}


def _machine(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The first shard's machine, the most that was stolen of any, and the nodes of clusters, if there are."""
    machine = dict(manifests[0].machine)
    stolen = [manifest.machine.get("steal_share") for manifest in manifests]
    machine["steal_share"] = max((share for share in stolen if share is not None), default=None)
    nodes = {name: node for manifest in manifests for name, node in (manifest.machine.get("nodes") or {}).items()}
    return machine | ({"nodes": nodes} if nodes else {})


def _slowest(manifests: Sequence[Manifest]) -> dict[str, Any] | None:
    """The calibration of the machine with the lowest ceiling; None where one of them was never calibrated."""
    known = [manifest.calibration for manifest in manifests if manifest.calibration is not None]
    if len(known) < len(manifests):
        return None
    return min(known, key=lambda told: (told.get("ceiling") or {}).get("events_per_cpu_second") or 0.0)


def _clock(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The common start, and by how much the shards' idea of it may differ, in seconds; None where nobody knows."""
    clock = {key: value for key, value in manifests[0].clock.items() if key in ("kernel_stamps", "start_at")}
    walls = [manifest.clock.get("wall") or {} for manifest in manifests]
    boots = {wall.get("boot") for wall in walls}
    if len(boots) == 1 and None not in boots:  # one machine, one clock: where its zero fell is known
        starts = [int(manifest.clock.get("t0_monotonic_ns") or 0) for manifest in manifests]
        return {**clock, "machines": 1, "offset_max_s": (max(starts) - min(starts)) / 1e9}
    bounds = sorted(wall.get("max_error_s") or 0.0 for wall in walls)
    known = all(wall.get("synchronised") and wall.get("max_error_s") is not None for wall in walls)
    return {**clock, "machines": len(boots), "offset_max_s": sum(bounds[-2:]) if known else None}


def _clock_finding(clock: dict[str, Any]) -> list[dict[str, Any]]:
    if clock["machines"] == 1:
        return []
    limit, most = 0.0, clock["offset_max_s"]
    if most is not None:
        message = (
            f"the shards' clocks may have been up to {most:.3g} s apart (the bound of their kernels): so may their"
        )
        return [_finding("clock_offset", "info", f"{message} loads. Latencies do not depend on it", "", most)]
    message = (
        "the clock of a shard's machine is not kept true: its load may have begun earlier or later than the others'"
    )
    return [_finding("clock_offset", "warning", message, "run NTP (chrony) on every machine", None, limit)]


def _missing(parts: Sequence[_Part]) -> list[dict[str, Any]]:
    of = parts[0].shard.of
    lost = sorted(set(range(of)) - {part.shard.index for part in parts})
    if not lost:
        return []
    names = ", ".join(f"{index}/{of}" for index in lost[:10]) + (" ..." if len(lost) > 10 else "")
    message = f"{len(lost)} of {of} shards are missing ({names}): so is their part of the load"
    return [
        _finding(
            "shards_missing", "error", message, "merge all shards; where one was lost, run all again", len(lost), 0
        )
    ]


def _cut(parts: Sequence[_Part]) -> list[dict[str, Any]]:
    cut = [str(part.shard) for part in parts if part.manifest.ended_at is None]
    if not cut:
        return []
    message = f"shards without an end: {', '.join(cut)} (killed, or still going): part of their load is missing"
    return [_finding("shards_cut", "error", message, "run all shards again", len(cut), 0)]


def _differences(parts: Sequence[_Part]) -> list[dict[str, Any]]:
    """What of the config and the target is not the same everywhere, though the plan is."""
    first = parts[0]
    config = first.folder.experiment.read_bytes()
    different = []
    for part in parts[1:]:
        if part.folder.experiment.read_bytes() != config:
            different.append(f"config of {part.shard}")
        different += [
            f"{key} of {part.shard}"
            for key in ("model", "engine", "engine_version")
            if part.manifest.target.get(key) != first.manifest.target.get(key)
        ]
        if part.manifest.text_calibration != first.manifest.text_calibration:
            different.append(f"words a token of {part.shard}")
    if not different:
        return []
    told = ", ".join(different[:5])
    message = f"not the same as in shard {first.shard}: {told}. SLOs and prices are those of {first.shard}"
    return [_finding("shards_differ", "warning", message, "give all shards the same config and the same target")]


def _finding(
    code: str, severity: str, message: str, remedy: str, value: float | None = None, limit: float | None = None
) -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "message": message,
        "value": value,
        "limit": limit,
        "remedy": remedy,
    }
