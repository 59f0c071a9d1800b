"""Runs on disk, made by hand: an agent run with joins, errors and hostile texts, and the summaries of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from harness.judge.evaluate import evaluate
from harness.metrics.analysis import Analysis
from harness.metrics.summary import (
    CostFigures,
    Counts,
    EnergyFigures,
    MetricStats,
    Rates,
    RequestCounts,
    RunInfo,
    SessionCounts,
    SloResult,
    Summary,
    TargetInfo,
    Tokens,
)
from harness.records import manifest as manifests
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest, WorkerReport
from harness.records.record import Record, encode_record

MS = 1_000_000
S = 1000 * MS

EXPERIMENT: dict[str, Any] = {
    "name": "agents",
    "seed": 7,
    "backend": {"kind": "openai", "url": "http://127.0.0.1:8000/v1"},
    "workload": {"kind": "map_reduce", "width": 3},
    "load": {"concurrency": 4, "sessions": 60},
    "slo": ["ttft.p95 < 500ms", "error_rate < 10%"],
    "cost": {"gpu_hour": 2.5, "gpus": 2, "currency": "USD", "as_of": "2026-11"},
}

Make = Callable[..., RunFolder]


def request(session: int, node: str, begin: int, ttft: int, decode: int, **more: Any) -> Record:
    """A request that was sent 1 ms after it was due and gave 11 tokens, one an event, evenly."""
    sent = begin + MS
    stamps = [ttft + decode * step // 10 for step in range(11)]
    fields: dict[str, Any] = {
        "id": f"s{session:07d}/{node}",
        "session": f"s{session:07d}",
        "node": node,
        "kind": "map_reduce",
        "intended_ns": begin,
        "sent_ns": sent,
        "first_token_ns": sent + ttft,
        "first_output_ns": sent + ttft,
        "last_token_ns": sent + ttft + decode,
        "end_ns": sent + ttft + decode,
        "status": "ok",
        "input_tokens": 100 + 37 * (session % 20),
        "output_tokens": 11,
        "tokens_source": "server",
        "chunks": 11,
        "chunk_us": [stamp // 1000 for stamp in stamps],
        "chunk_tokens": [1] * 11,
        "finish_reason": "length",
    }
    return Record(**(fields | more))


def agent_session(session: int, arrival: int, rng: np.random.Generator) -> list[Record]:
    """Three maps at once, then a reduce 50 ms after the last of them."""
    maps = [
        request(session, f"map-{k}", arrival, int(rng.integers(20, 60)) * MS, int(rng.integers(80, 200)) * MS)
        for k in range(3)
    ]
    ready = max(one.end_ns for one in maps) + 50 * MS
    after = [one.id for one in maps]
    return [*maps, request(session, "reduce", ready, 40 * MS, 100 * MS, after=after, gap_ns=50 * MS)]


def closed_run(sessions: int = 60, slots: int = 4, seed: int = 1) -> list[Record]:
    """A closed loop: each slot plays one session after another."""
    rng = np.random.default_rng(seed)
    free = [slot * 20 * MS for slot in range(slots)]
    records: list[Record] = []
    for session in range(sessions):
        slot = int(np.argmin(free))
        played = agent_session(session, free[slot], rng)
        free[slot] = max(one.end_ns for one in played)
        records += played
    return records


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """A function that writes a run's folder from records; keywords go to the manifest and the experiment."""

    def make(
        records: list[Record], experiment: dict[str, Any] | None = None, name: str = "run", **manifest: Any
    ) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.experiment.write_text(yaml.safe_dump(EXPERIMENT | (experiment or {})))
        end = max((one.end_ns for one in records), default=0)
        facts: dict[str, Any] = {
            "run_id": name,
            "name": "agents",
            "seed": 7,
            "started_at": "2026-11-21T08:34:00Z",
            "ended_at": "2026-11-21T08:35:00Z",
            "harness_version": "0.1.0",
            "machine": {"cpu": "EPYC", "cores": 16},
            "target": {"backend": "openai", "model": "tiny", "url": "http://127.0.0.1:8000/v1", "engine": "vllm"},
            "workers": [WorkerReport(worker=0, end_ns=end)],
        }
        folder.manifest.write_bytes(manifests.to_json(Manifest(**(facts | manifest))))
        folder.records_of(0).write_bytes(b"".join(encode_record(one) + b"\n" for one in records))
        return folder

    return make


@pytest.fixture
def analysis(make_run: Make) -> Analysis:
    """An agent run that went well."""
    return evaluate(make_run(closed_run()))


@pytest.fixture
def records() -> list[Record]:
    return closed_run()


@pytest.fixture
def summary() -> Summary:
    """A closed run of 118 sessions, as a hand would write its summary."""
    ttft = MetricStats(
        unit="s", n=1180, mean=0.19, p50=0.1764, p95=0.4021, p99=0.588, max=0.9,
        ci95={"p50": (0.172, 0.18), "p95": (0.381, 0.423)},
    )  # fmt: skip
    tpot = MetricStats(unit="s", n=1180, p50=0.0201, p95=0.0314, p99=0.036, ci95={"p50": (0.02, 0.0202)})
    makespan = MetricStats(
        unit="s", n=118, p50=6.1, p95=9.8, ci95={"p50": (5.9, 6.3), "p95": (9.2, 10.4)}
    )  # fmt: skip
    return Summary(
        run=RunInfo(id="r1", name="agents-on-vllm", seed=7, duration_s=64.0, window_s=60.0),
        target=TargetInfo(backend="vllm", model="Llama-3.1-8B", url="http://gpu-1:8000/v1", engine="vllm"),
        counts=Counts(
            sessions=SessionCounts(planned=118, finished=118), requests=RequestCounts(sent=1180, ok=1180)
        ),
        metrics={
            "ttft": ttft,
            "tpot": tpot,
            "session.makespan": makespan,
            "session.requests": MetricStats(unit="count", n=118, mean=10.0, p50=10.0),
        },
        rates=Rates(output_tokens_per_s=4790.0, total_tokens_per_s=61300.0, goodput_sessions_per_hour=7080.0),
        rates_ci95={"output_tokens_per_s": (4700.0, 4880.0)},
        tokens=Tokens(input=1, output=1, source="server"),
        cost=CostFigures(
            total=1.0, per_1m_tokens=0.0412, per_1m_output_tokens=0.521, per_good_session=0.00131,
            at_utilisation={"100": 0.0412, "50": 0.0824},
        ),
        energy=EnergyFigures(joules=1000.0, j_per_output_token=0.38, j_per_session=1100.0),
        slo=[SloResult(expr="ttft.p95 < 500ms", verdict="pass", value=0.4021, limit=0.5)],
    )  # fmt: skip


def changed(summary: Summary, **parts: Any) -> Summary:
    return msgspec.structs.replace(summary, **parts)
