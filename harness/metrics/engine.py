"""The server's own figures over our window, from its page of metrics sampled beside the run.

A page tells running totals, so a window is the difference of two samples: those nearest to its edges. `starts_s` and
`ends_s` say how far from the edges they lie (positive: after). A quantile comes from the buckets of a histogram by
linear interpolation, as Prometheus' histogram_quantile does it; `within` tells the bucket it was found in, which is
how exact it is. In the lowest bucket, from 0, and in the highest, without an end, there is nothing to go by: the
quantile is None and only `within` is known. The server counts a request when it ends, whichever window it began in,
and sees neither the network nor us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.metrics.quantiles import sample_floor
from harness.metrics.summary import Finding
from harness.records.telemetry import Histogram, Sample, TelemetryLog
from harness.units import NS_PER_S

PAGE = "prometheus"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_GAUGES = ("running", "waiting", "kv_cache_usage")
_HISTOGRAMS = ("ttft", "itl", "tpot", "e2e", "queue", "prefill", "decode")
_TOTALS = {
    "input_tokens": "prompt_tokens",
    "computed_input_tokens": "computed_prompt_tokens",
    "cached_input_tokens": "cached_prompt_tokens",
    "output_tokens": "generation_tokens",
    "preemptions": "preemptions",
    "prefill_s": "prefill_seconds",
    "decode_s": "decode_seconds",
}


def engine_figures(log: TelemetryLog, start_ns: int, end_ns: int) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What server and machines say of `start_ns` to `end_ns` on the run's axis; None where they say nothing.

    Unknown figures are left out; a quantile is None under its sample floor, and in the lowest and highest bucket.
    """
    figures: dict[str, Any] = {}
    findings: list[Finding] = []
    samples = covering(log.of(PAGE), start_ns, end_ns)
    if len(samples) > 1 and _restarted(samples):
        findings.append(
            Finding(
                code="engine_restarted",
                severity="warning",
                message="the server's counters went back during the window: it was restarted, its figures are left out",
                remedy="see the log of the server",
            )
        )
    elif len(samples) > 1:
        figures = _page(samples, start_ns, end_ns)
    machine = _machine(log, start_ns, end_ns)
    if machine:
        figures["machine"] = machine
    return figures or None, findings


def telemetry_findings(log: TelemetryLog) -> list[Finding]:
    """What sources had to say about themselves, each thing once."""
    found: dict[tuple[str, str], Finding] = {}
    for notice in log.notices:
        found.setdefault(
            (notice.source, notice.code),
            Finding(
                code=notice.code,
                severity=notice.severity,
                message=f"{notice.source}: {notice.message}",
                remedy=notice.remedy,
            ),
        )
    return list(found.values())


def covering(samples: Sequence[Sample], start_ns: int, end_ns: int) -> list[Sample]:
    """From the sample nearest to the start to the one nearest to the end; where that is one and the same, from the
    last before the window to the first after it."""
    if not samples:
        return []
    first = min(range(len(samples)), key=lambda i: abs(samples[i].t_ns - start_ns))
    last = min(range(len(samples)), key=lambda i: abs(samples[i].t_ns - end_ns))
    if first >= last:
        first = max((i for i, sample in enumerate(samples) if sample.t_ns <= start_ns), default=0)
        last = min((i for i, sample in enumerate(samples) if sample.t_ns >= end_ns), default=len(samples) - 1)
    return list(samples[first : last + 1])


def difference(before: Histogram, after: Histogram) -> Histogram | None:
    """What was observed between two moments; None where the buckets are others."""
    if before.bounds != after.bounds or len(before.counts) != len(after.counts):
        return None
    counts = [b - a for a, b in zip(before.counts, after.counts, strict=True)]
    return Histogram(counts=counts, sum=after.sum - before.sum, bounds=after.bounds)


def quantile(histogram: Histogram, q: float) -> tuple[float | None, tuple[float, float | None]]:
    """The quantile, and the bounds of the bucket it lies in; None in the lowest and in the highest bucket.

    Raises:
        ValueError: the histogram is empty.
    """
    bounds = histogram.bounds or []
    rank, seen = q * histogram.n, 0.0
    for index, count in enumerate(histogram.counts):
        if count and seen + count >= rank:
            low = bounds[index - 1] if index else 0.0
            if index == len(bounds):
                return None, (low, None)
            if index == 0:
                return None, (low, bounds[0])
            return low + (bounds[index] - low) * (rank - seen) / count, (low, bounds[index])
        seen += count
    raise ValueError("the histogram is empty")


def _page(samples: list[Sample], start_ns: int, end_ns: int) -> dict[str, Any]:
    first, last = samples[0], samples[-1]
    length = (last.t_ns - first.t_ns) / NS_PER_S
    figures: dict[str, Any] = {
        "source": PAGE,
        "window_s": length,
        "starts_s": (first.t_ns - start_ns) / NS_PER_S,
        "ends_s": (last.t_ns - end_ns) / NS_PER_S,
        "samples": len(samples),
    }
    for name in _GAUGES:
        told = [sample.values[name] for sample in samples if name in sample.values]
        if told:
            figures[name] = {"mean": sum(told) / len(told), "max": max(told)}
    gained = {
        name: last.values[name] - first.values[name]
        for name in last.values
        if name in first.values and name not in _GAUGES
    }
    figures |= {name: gained[told] for name, told in _TOTALS.items() if told in gained}
    for name in ("input_tokens", "output_tokens"):
        if name in figures and length > 0:
            figures[f"{name}_per_s"] = figures[name] / length
    figures |= _shares(gained)
    return figures | _latencies(first, last)


def _shares(gained: dict[str, float]) -> dict[str, float]:
    """Ratios of totals."""
    shares = {
        "prefix_cache_hit_share": prefix_hit_share(gained),
        "spec_accepted_share": _ratio(gained, "spec_accepted_tokens", "spec_draft_tokens"),
        "spec_accepted_per_draft": _ratio(gained, "spec_accepted_tokens", "spec_drafts"),
    }
    return {name: share for name, share in shares.items() if share is not None}


def prefix_hit_share(gained: Mapping[str, float]) -> float | None:
    """Tokens found in the prefix cache of those looked up; else cached ones of all prompt tokens. `gained` is what
    the server's totals grew by."""
    if "prefix_cache_queries" in gained:
        return _ratio(gained, "prefix_cache_hits", "prefix_cache_queries")
    return _ratio(gained, "cached_prompt_tokens", "prompt_tokens")


def _ratio(gained: Mapping[str, float], part: str, whole: str) -> float | None:
    return gained[part] / gained[whole] if part in gained and gained.get(whole) else None


def _latencies(first: Sample, last: Sample) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    within: dict[str, list[float | None]] = {}
    for name in _HISTOGRAMS:
        if name not in first.histograms or name not in last.histograms:
            continue
        observed = difference(first.histograms[name], last.histograms[name])
        if observed is None or observed.n <= 0:
            continue
        told: dict[str, float | None] = {"n": round(observed.n), "mean": observed.sum / observed.n}
        for label, q in QUANTILES.items():
            told[label] = None
            if observed.n >= sample_floor(q):
                told[label], bucket = quantile(observed, q)
                within[f"{name}.{label}"] = list(bucket)
        figures[name] = told
    return figures | ({"within": within} if within else {})


def _restarted(samples: list[Sample]) -> bool:
    """Whether a total is smaller than before: counters of a server only grow."""
    for before, after in pairwise(samples):
        for name, value in after.values.items():
            if name not in _GAUGES and value < before.values.get(name, value):
                return True
        for name, histogram in after.histograms.items():
            earlier = before.histograms.get(name)
            if earlier is not None and histogram.n < earlier.n:
                return True
    return False


def _machine(log: TelemetryLog, start_ns: int, end_ns: int) -> dict[str, float]:
    """CPU, memory and GPUs beside the run: means of what is used up, maxima of what is held."""
    samples = covering(log.of("process"), start_ns, end_ns)
    figures: dict[str, float] = {}
    if len(samples) > 1:
        first, last = samples[0], samples[-1]
        gained = {name: last.values[name] - first.values[name] for name in last.values if name in first.values}
        seconds = (last.t_ns - first.t_ns) / NS_PER_S
        if gained.get("engine_cpu_s", -1.0) >= 0 and seconds > 0:
            figures["engine_cpu_cores"] = gained["engine_cpu_s"] / seconds
        for name, told in (("host_cpu_share", "host_busy_s"), ("host_steal_share", "host_steal_s")):
            share = _ratio(gained, told, "host_all_s")
            if share is not None:
                figures[name] = share
        for name in ("engine_rss_bytes", "host_memory_bytes"):
            held = [sample.values[name] for sample in samples if name in sample.values]
            if held:
                figures[f"{name}_max"] = max(held)
    return figures | _gpus(log, start_ns, end_ns)


def _gpus(log: TelemetryLog, start_ns: int, end_ns: int) -> dict[str, float]:
    """Of the first source that sees GPUs: memory of all of them at its peak, mean utilisation and clock."""
    for source in ("nvml", "dcgm", "amdsmi"):
        devices = [list(sample.devices.values()) for sample in covering(log.of(source), start_ns, end_ns)]
        held = [sum(d.memory_bytes for d in gpus if d.memory_bytes is not None) for gpus in devices if gpus]
        busy = [d.utilisation for gpus in devices for d in gpus if d.utilisation is not None]
        clock = [d.clock_hz for gpus in devices for d in gpus if d.clock_hz is not None]
        if held:
            figures = {"gpus": float(max(len(gpus) for gpus in devices)), "gpu_memory_bytes_max": float(max(held))}
            figures |= {"gpu_utilisation": sum(busy) / len(busy)} if busy else {}
            return figures | ({"gpu_clock_hz": sum(clock) / len(clock)} if clock else {})
    return {}
