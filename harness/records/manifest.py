"""`manifest.json`: everything that is not a request but is needed to trust or repeat the run."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.records.snapshot import Health

SCHEMA = 1


class WorkerReport(msgspec.Struct, kw_only=True):
    """What a worker says when it has finished. Times are on the run's axis."""

    worker: int
    full_ns: int | None = None  # when its share of the load was full
    dry_ns: int | None = None  # when its first slot ran dry, or its arrivals ended
    end_ns: int = 0
    sessions_started: int = 0
    sessions_finished: int = 0
    sessions_failed: int = 0
    requests: int = 0
    interrupted: bool = False
    died: str | None = None  # how it ended, where it did not end by itself
    health: Health = msgspec.field(default_factory=Health)
    findings: list[dict[str, Any]] = []


class Manifest(msgspec.Struct, kw_only=True):
    """Written before the first request, and again with `workers` and `ended_at` when the load has ended."""

    schema: int = SCHEMA
    run_id: str
    name: str
    seed: int
    started_at: str
    ended_at: str | None = None
    interrupted: bool = False
    plan_sha256: str = ""
    planned_sessions: int | None = None
    warmup_sessions: int = 0
    harness_version: str = ""
    machine: dict[str, Any] = {}
    packages: dict[str, str] = {}
    target: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    calibration: dict[str, Any] | None = None
    text_calibration: dict[str, Any] | None = None
    clock: dict[str, Any] = {}
    workers: list[WorkerReport] = []


def to_json(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


from_json = msgspec.json.Decoder(Manifest).decode
