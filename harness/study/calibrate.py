"""This machine's ceiling and timing error, measured against the simulated engine's own truth.

The ceiling is what one worker's core can take: events a CPU second, as fast as the engine sends, records written. The
timing error is told minus true, event by event, at a realistic pace: the engine writes down when it sent each event,
on the same monotonic clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.config import Experiment
from harness.records.folder import RunFolder
from harness.records.reader import read_records
from harness.records.record import Record
from harness.run import run

_TOKENS = 128
_PACE_S = 0.02
_TTFT_S = 0.2
_CEILING_REQUESTS = 2000


class Ceiling(msgspec.Struct, kw_only=True):
    """What one worker can take. `cpu_us_per_event` is of the worker's process, parsing and records included."""

    streams: int
    events: int
    cpu_us_per_event: float
    events_per_cpu_second: float


class TimingError(msgspec.Struct, kw_only=True):
    """Told minus true, in microseconds (absolute values), over all events of a paced run."""

    streams: int
    events: int
    clock: str
    ttft_p50_us: float
    ttft_p99_us: float
    itl_p50_us: float
    itl_p99_us: float
    worker_cpu_share: float


class Calibration(msgspec.Struct, kw_only=True):
    """What `harness calibrate` finds. `paced_streams_per_core` is derived: at 20 ms a token, at 85 % of a core."""

    schema: int = 1
    made_at: str
    ceiling: Ceiling
    paced_streams_per_core: int
    errors: list[TimingError]


def calibrate(streams: tuple[int, ...] = (64, 512), *, quiet: bool = True) -> Calibration:
    """Measure. Takes about half a minute.

    Raises:
        TargetError: the simulated engine could not be started.
    """
    with tempfile.TemporaryDirectory(prefix="harness-calibrate-") as place:
        ceiling = _ceiling(Path(place), quiet=quiet)
        errors = [_timing_error(Path(place), count, quiet=quiet) for count in streams]
    paced = max(error.worker_cpu_share / (error.streams / _PACE_S) for error in errors)
    return Calibration(
        made_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        ceiling=ceiling,
        paced_streams_per_core=int(0.85 / paced * _PACE_S),
        errors=errors,
    )


def _experiment(name: str, streams: int, requests: int, backend: dict[str, Any]) -> Experiment:
    return Experiment.model_validate(
        {
            "name": name,
            "backend": {"kind": "sim", **backend},
            "workload": {"kind": "chat", "turns": 1, "system_tokens": 0, "input_tokens": 16, "output_tokens": _TOKENS},
            "load": {"concurrency": streams, "sessions": requests, "workers": 1, "ramp": "200ms"},
        }
    )


def _ceiling(place: Path, *, quiet: bool) -> Ceiling:
    streams = 64
    outcome = run(_experiment("ceiling", streams, _CEILING_REQUESTS, {"profile": "instant"}), out=place, quiet=quiet)
    report = outcome.analysis.manifest.workers[0]
    events = int(outcome.analysis.table.chunks.sum())
    cpu_s = report.health.cpu_share * report.end_ns / 1e9
    return Ceiling(
        streams=streams, events=events, cpu_us_per_event=cpu_s / events * 1e6, events_per_cpu_second=events / cpu_s
    )


def _timing_error(place: Path, streams: int, *, quiet: bool) -> TimingError:
    truth = place / f"truth-{streams}.jsonl"
    pace = {"ttft": _TTFT_S, "itl": _PACE_S, "truth": str(truth)}
    outcome = run(_experiment(f"paced-{streams}", streams, 2 * streams, pace), out=place, quiet=quiet)
    ttft, itl, clock = _errors(outcome.folder, truth)
    return TimingError(
        streams=streams,
        events=len(itl) + len(ttft),
        clock=clock,
        ttft_p50_us=_quantile(ttft, 0.5),
        ttft_p99_us=_quantile(ttft, 0.99),
        itl_p50_us=_quantile(itl, 0.5),
        itl_p99_us=_quantile(itl, 0.99),
        worker_cpu_share=outcome.analysis.manifest.workers[0].health.cpu_share,
    )


def _errors(folder: RunFolder, truth: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Absolute errors of TTFT and of each gap, in microseconds, and the clock that stamped them."""
    told = {record.id: record for record in _answered(folder)}
    ttft, gaps = [], []
    with truth.open("rb") as rows:
        for row in map(msgspec.json.decode, rows):
            record = told.get(row["id"])
            if record is None or record.sent_ns is None:
                continue
            true = np.array(row["event_ns"][-_TOKENS - 2 : -2], dtype=np.int64)  # before usage and [DONE]
            mine = np.array(record.chunk_us, dtype=np.float64)
            if len(true) != len(mine):
                continue
            ttft.append(abs(mine[0] - (true[0] - row["full_ns"]) / 1e3))
            gaps.append(np.abs(np.diff(mine) - np.diff(true) / 1e3))
    clocks = {record.clock for record in told.values()}
    return np.array(ttft), np.concatenate(gaps) if gaps else np.array([]), "/".join(sorted(clocks))


def _answered(folder: RunFolder) -> Iterator[Record]:
    return (record for record in read_records(folder.records()) if record.status == "ok")


def _quantile(values: NDArray[np.float64], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
