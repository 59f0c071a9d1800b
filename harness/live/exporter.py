"""The live figures of a run for Prometheus, as OpenMetrics.

A scrape merges the newest snapshots when it comes, so a run that nobody scrapes pays
nothing. Figures are for watching: those that count are computed from the records after the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from harness.live.merge import merge
from harness.live.progress import Goal
from harness.records.snapshot import BINS_PER_DECADE, Health, LogHistogram, Snapshot
from harness.units import NS_PER_S

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_LOWEST_S = 1e-6  # where the bins of a LogHistogram begin
_STEP = BINS_PER_DECADE // 8  # bins in a bucket: eight buckets a decade, each a third wider than the last
_FIRST = 2 * BINS_PER_DECADE // _STEP  # buckets end between 100 us ...
_LAST = 8 * BINS_PER_DECADE // _STEP  # ... and 100 s
_PHASES = ("warmup", "measure", "drain")
_LIMIT = re.compile(r"(\w+)\.p(\d+(?:\.\d+)?)")

_HEALTH: dict[str, tuple[str, str]] = {
    "loop_lag_p99_s": ("loop_lag_p99_seconds", "99th percentile of the event loop's lag, worst worker"),
    "loop_lag_max_s": ("loop_lag_max_seconds", "Longest lag of an event loop"),
    "send_lag_p99_s": ("send_lag_p99_seconds", "99th percentile of sending later than intended, worst worker"),
    "send_lag_max_s": ("send_lag_max_seconds", "Longest delay of a request behind its intended start"),
    "kernel_delay_p99_s": ("kernel_delay_p99_seconds", "99th percentile from the kernel's stamp to our read"),
    "gc_pause_max_s": ("gc_pause_max_seconds", "Longest pause by the garbage collector"),
    "write_lag_max_s": ("write_lag_max_seconds", "Longest write of records to disk"),
    "cpu_share": ("cpu_ratio", "CPU seconds a second of the busiest worker; 1 is a whole core"),
    "rss_bytes": ("resident_memory_bytes", "Memory of all workers"),
}


class Exporter:
    """Tells the newest figures to whoever scrapes; `app` is a WSGI application."""

    def __init__(self) -> None:
        registry = CollectorRegistry(auto_describe=False)
        self._figures = _Figures()
        registry.register(self._figures)
        self.app: WSGIApplication = make_wsgi_app(registry)

    def describe(self, run_id: str, goal: Goal) -> None:
        """Which run this is. Figures are served before it is known, too."""
        self._figures.run = (run_id, goal)

    def update(self, snapshots: Sequence[Snapshot]) -> None:
        """The latest snapshot of each worker. Returns at once."""
        self._figures.newest = tuple(snapshots)


class _Figures(Collector):
    """Turns the newest snapshots into metric families, once a scrape."""

    def __init__(self) -> None:
        self.run: tuple[str, Goal] | None = None
        self.newest: tuple[Snapshot, ...] = ()

    def collect(self) -> Iterator[Metric]:
        newest, run = self.newest, self.run
        total = merge(newest)
        if run is not None:
            yield from _about(*run)
        yield GaugeMetricFamily("harness_workers", "Workers that have told something", len(newest))
        yield GaugeMetricFamily("harness_elapsed_seconds", "Time since the start of load", total.t_ns / NS_PER_S)
        yield _labelled(
            GaugeMetricFamily("harness_phase", "1 for the phase the run is in", labels=["phase"]),
            {phase: float(bool(newest) and phase == total.phase) for phase in _PHASES},
        )
        yield GaugeMetricFamily("harness_live_sessions", "Sessions under way", total.live_sessions)
        yield GaugeMetricFamily("harness_live_requests", "Requests under way", total.live_requests)
        yield from _counters(total)
        yield _histogram("harness_ttft_seconds", "Time to first token", total.ttft)
        yield _histogram("harness_tpot_seconds", "Time per output token after the first", total.tpot)
        yield _histogram("harness_e2e_seconds", "From sending a request to its last output", total.e2e)
        if newest:
            yield from _health(total.health)


def _about(run_id: str, goal: Goal) -> Iterator[Metric]:
    labels = {
        "run_id": run_id,
        "name": goal.name,
        "target": goal.target,
        "simulated": str(goal.simulated).lower(),
    }
    yield InfoMetricFamily("harness_run", "The run these figures are of", labels)
    limits = GaugeMetricFamily("harness_slo_limit_seconds", "Upper limits by SLO", labels=["metric", "quantile"])
    for name, limit in goal.limits.items():
        if match := _LIMIT.fullmatch(name):
            limits.add_metric([match[1], f"{float(match[2]) / 100:g}"], limit)
    yield limits
    if goal.sessions is not None:
        yield GaugeMetricFamily("harness_planned_sessions", "Sessions of the plan, warm-up included", goal.sessions)
    if goal.duration_s is not None:
        yield GaugeMetricFamily("harness_planned_seconds", "Planned length, ramp and warm-up included", goal.duration_s)


def _counters(total: Snapshot) -> Iterator[Metric]:
    yield CounterMetricFamily("harness_sessions_started", "Sessions that have begun", total.sessions_started)
    yield _labelled(
        CounterMetricFamily("harness_sessions", "Sessions that have ended, by outcome", labels=["outcome"]),
        {"done": total.sessions_done, "failed": total.sessions_failed},
    )
    yield CounterMetricFamily("harness_requests_sent", "Requests sent", total.requests_sent)
    yield _labelled(
        CounterMetricFamily("harness_requests", "Requests that have ended, by outcome", labels=["outcome"]),
        {"ok": total.requests_ok, "failed": total.requests_failed},
    )
    yield _labelled(
        CounterMetricFamily("harness_request_errors", "Failed requests, by kind of error", labels=["error"]),
        dict(sorted(total.errors.items())),
    )
    yield _labelled(
        CounterMetricFamily("harness_tokens", "Tokens of answers and prompts", labels=["direction"]),
        {"input": total.input_tokens, "output": total.output_tokens},
    )
    yield _labelled(
        CounterMetricFamily("harness_network_bytes", "Bytes on the wire", labels=["direction"]),
        {"in": total.bytes_in, "out": total.bytes_out},
    )


def _health(health: Health) -> Iterator[Metric]:
    for field, (name, meaning) in _HEALTH.items():
        value = getattr(health, field)
        if value is not None:
            yield GaugeMetricFamily(f"harness_client_{name}", meaning, value)
    waited = "Requests that waited for a cap of ours (limits)"
    yield CounterMetricFamily("harness_client_limit_waits", waited, health.limit_waits)
    yield CounterMetricFamily("harness_client_resends", "Requests sent again on a fresh connection", health.resends)


def _labelled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _histogram(name: str, meaning: str, histogram: LogHistogram) -> HistogramMetricFamily:
    """Bounds are edges of bins, so every count is exact. No `_sum`: bins do not know it, and none is made up."""
    buckets: list[tuple[str, float]] = []
    seen, begin = 0, 0
    for bucket in range(_FIRST, _LAST + 1):
        seen += sum(histogram.counts[begin : bucket * _STEP])
        begin = bucket * _STEP
        bound = float(f"{_LOWEST_S * 10 ** (begin / BINS_PER_DECADE):.4g}")
        buckets.append((str(bound), seen))  # as OpenMetrics writes it: 1.0, not 1
    buckets.append(("+Inf", histogram.total()))
    return HistogramMetricFamily(name, meaning, buckets=buckets)
