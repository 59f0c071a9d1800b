"""The benchmark report of llm-d, version 0.2.1.

Schema: llmd_benchmark_report/schema_v0_2.py of the package llmd-benchmark-report 0.2.1
(https://github.com/llm-d/llm-d-benchmark, benchmark-report/), whose validator the tests run. What we do not know, or
define otherwise, is left out: accelerators (so the stack is one `generic` component), NTPOT, and the load's rate and
concurrency, which there count requests and here sessions; they stand in `native.config`, the whole experiment.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from harness.metrics.summary import MetricStats, Summary
from harness.report.analysed import experiment_of
from harness.report.figures import clean

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

VERSION = "0.2.1"

_FIGURES = {"p99p9": "p999"}  # theirs -> ours, where they differ
_STATISTICS = ("mean", "stddev", "min", "p50", "p90", "p95", "p99", "p99p9", "max")
_LATENCIES = {
    "time_to_first_token": ("ttft", "s"),
    "time_per_output_token": ("tpot", "s/token"),
    "inter_token_latency": ("itl", "s/token"),
    "request_latency": ("e2e", "s"),
}
_RATES = {
    "output_token_rate": ("output_tokens_per_s", "tokens/s"),
    "total_token_rate": ("total_tokens_per_s", "tokens/s"),
    "request_rate": ("requests_per_s", "queries/s"),
}


class LlmdReport:
    """For llm-d-benchmark and what reads its reports, such as llm-d-prism."""

    name = "llm-d"
    extension = "yaml"

    def render(self, analysis: Analysis) -> str:
        """The whole document as YAML."""
        told = {
            "version": VERSION,
            "run": _run(analysis.summary),
            "scenario": _scenario(analysis),
            "results": _results(analysis.summary),
        }
        return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _run(summary: Summary) -> dict[str, Any]:
    time = {"start": summary.run.started_at or None, "duration": f"PT{summary.run.duration_s:.3f}S"}
    return _known({"uid": clean(summary.run.id), "time": _known(time), "description": clean(summary.run.name)})


def _scenario(analysis: Analysis) -> dict[str, Any]:
    target = analysis.summary.target
    engine, version = clean(target.engine or target.backend or "unknown"), clean(target.engine_version or "unknown")
    identity = "\n".join((engine, version, target.model, target.url))
    component = {
        "metadata": {"label": "engine", "cfg_id": hashlib.sha256(identity.encode()).hexdigest()},
        "standardized": {
            "kind": "generic",
            "tool": engine,
            "tool_version": version,
            "model": {"name": clean(target.model)},
        },
        "native": {"config": {"url": clean(target.url), "simulated": target.simulated}},
    }
    return _known({"stack": [component], "load": _load(analysis)})


def _load(analysis: Analysis) -> dict[str, Any] | None:
    """Only where the length of the inputs is known: the schema asks for it."""
    summary = analysis.summary
    length = summary.metrics.get("input_tokens")
    if length is None or length.mean is None:
        return None
    config = {} if analysis.folder is None else dict(experiment_of(analysis.folder))
    workload = config.get("workload")
    replayed = isinstance(workload, dict) and workload.get("kind") == "replay"
    return {
        "metadata": _known({"cfg_id": summary.run.plan_sha256 or None}),
        "standardized": {
            "tool": "inference-harness",
            "tool_version": clean(analysis.manifest.harness_version or "unknown"),
            "parallelism": max(1, len(analysis.manifest.workers)),
            "source": "sampled" if replayed else "random",
            "input_seq_len": _known(
                {
                    "distribution": "other",
                    "value": length.mean,
                    "min": None if length.min is None else int(length.min),
                    "max": None if length.max is None else max(1, int(length.max)),
                }
            ),
        },
        "native": {"config": config},
    }


def _results(summary: Summary) -> dict[str, Any]:
    requests, sessions, metrics = summary.counts.requests, summary.counts.sessions, summary.metrics
    aggregate = {
        "requests": _known(
            {
                "total": requests.sent,
                "failures": requests.failed,
                "incomplete": max(0, requests.sent - requests.ok - requests.failed),
                "input_length": _statistics(metrics.get("input_tokens"), "count"),
                "output_length": _statistics(metrics.get("output_tokens"), "count"),
            }
        ),
        "latency": _known({name: _statistics(metrics.get(ours), unit) for name, (ours, unit) in _LATENCIES.items()}),
        "throughput": _known({name: _rate(summary, ours, unit) for name, (ours, unit) in _RATES.items()}),
    }
    told = {
        "total": sessions.finished + sessions.failed,
        "succeeded": sessions.finished,
        "failed": sessions.failed,
        "session_duration": _statistics(metrics.get("session.makespan"), "s"),
        "events_per_session": _statistics(metrics.get("session.requests"), "count"),
    }
    return {
        "request_performance": {"aggregate": aggregate},
        "session_performance": {"sessions": _known(told)},
    }


def _statistics(stats: MetricStats | None, unit: str) -> dict[str, Any] | None:
    """A percentile under its sample floor is left out."""
    if stats is None or stats.mean is None:
        return None
    return {"units": unit, **_known({name: getattr(stats, _FIGURES.get(name, name)) for name in _STATISTICS})}


def _rate(summary: Summary, field: str, unit: str) -> dict[str, Any] | None:
    value = getattr(summary.rates, field)
    return None if value is None else {"units": unit, "mean": value}


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
