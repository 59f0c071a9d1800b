"""`manifest.json`: everything that is not a request but is needed to trust or repeat the run."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.records.document import indented
from harness.records.snapshot import Health

SCHEMA = 1


class ShardOf(msgspec.Struct, frozen=True):
    """The share of a plan that one run of several played: each session whose index is `index` modulo `of`."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


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
    """Written before the first request, and again with `workers` and `ended_at` when the load has ended.

    `plan_sha256`, `planned_sessions`, `counted_sessions` and `warmup_sessions` are of the whole plan, also where
    `shard` says that the run played a share of it. `shards` are those that a merged run was put together from.
    `findings` are of the run as a whole, in the fields of a finding.
    """

    schema: int = SCHEMA
    run_id: str
    name: str
    seed: int
    started_at: str
    ended_at: str | None = None
    interrupted: bool = False
    plan_sha256: str = ""
    planned_sessions: int | None = None
    counted_sessions: int | None = None
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
    shard: ShardOf | None = None
    shards: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []

    @property
    def planned_share(self) -> int | None:
        """How many sessions this run was to play, warm-up included; None: only time bounds them."""
        return None if self.planned_sessions is None else self._share(self.planned_sessions)

    @property
    def counted_share(self) -> int | None:
        """How many it was to play after a warm-up by time that no number bounds; None: `planned_share` tells."""
        return None if self.counted_sessions is None else self._share(self.counted_sessions)

    @property
    def warmup_share(self) -> int:
        """How many of them are warm-up by their index."""
        return self._share(self.warmup_sessions)

    def _share(self, sessions: int) -> int:
        return sessions if self.shard is None else len(range(self.shard.index, sessions, self.shard.of))


def to_json(manifest: Manifest) -> bytes:
    return indented(manifest)


from_json = msgspec.json.Decoder(Manifest).decode
