"""What the parent and its workers say to each other: one JSON object a line over the worker's pipes."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.backends.protocol import Target
from harness.load.reached import Reached
from harness.load.wire import Endpoint
from harness.records.manifest import WorkerReport
from harness.records.snapshot import Snapshot


class WorkerSpec(msgspec.Struct, kw_only=True):
    """All that a worker needs to play its share. Secrets are references; the worker resolves them itself."""

    experiment: dict[str, Any]
    shard: int
    shards: int
    target: Target
    endpoint: Endpoint
    run_id: str
    records_path: str
    text_calibration: dict[str, Any]
    run_nonce: str
    warm_connections: bool = True
    solo: list[int] | None = None  # these sessions, one after the other, in the place of the shard


class Start(msgspec.Struct, tag="start"):
    """Begin at this instant of the monotonic clock: it is the zero of the run's axis."""

    at_ns: int


class Stop(msgspec.Struct, tag="stop"):
    """End early: let answers under way finish (drain), or not."""

    drain: bool


class Ready(msgspec.Struct, tag="ready"):
    """The worker has its plan, its connections and its first requests, and waits for the start."""

    worker: int
    pid: int
    reached: Reached | None = None  # an engine in the worker's own process, which nobody else could reach


class Tick(msgspec.Struct, tag="tick"):
    snapshot: Snapshot


class Done(msgspec.Struct, tag="done"):
    report: WorkerReport
    snapshot: Snapshot


class Failed(msgspec.Struct, tag="failed"):
    """The worker cannot go on: a message of ours for people, and its exit code."""

    message: str
    remedy: str = ""
    exit_code: int = 1


ToWorker = Start | Stop
FromWorker = Ready | Tick | Done | Failed

encode = msgspec.json.Encoder().encode
decode_to_worker = msgspec.json.Decoder(ToWorker).decode
decode_from_worker = msgspec.json.Decoder(FromWorker).decode
