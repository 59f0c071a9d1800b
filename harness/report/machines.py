"""What engine and machines did over the run: telemetry brought into the bins of the charts over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import ResultsError
from harness.metrics.energy import devices
from harness.metrics.table import Floats
from harness.records.telemetry import Device, Sample, TelemetryLog, read_telemetry
from harness.units import NS_PER_S

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

PAGE = "prometheus"
PROCESS = "process"
_KINDS = {"gpu": "GPUs", "cpu": "processors", "box": "whole box"}

Points = list[tuple[float, float]]  # seconds on the run's axis, value


@dataclass(frozen=True)
class Part:
    """One chart: lines of one unit (`count`, `share`, `tokens/s`, `W` or `cores`), by name. NaN where unknown."""

    name: str
    title: str
    unit: str
    lines: dict[str, Floats]


def machine_parts(analysis: Analysis, edges: Floats) -> list[Part]:
    """The charts there is anything for. `edges` are bins in seconds on the run's axis."""
    log = _log(analysis)
    if not log.samples:
        return []
    page, process = log.of(PAGE), log.of(PROCESS)
    parts = {
        ("queue", "requests in the engine", "count"): {
            "running": _gauge(page, "running"),
            "waiting": _gauge(page, "waiting"),
        },
        ("cache", "cache of the engine", "share"): {
            "KV cache in use": _gauge(page, "kv_cache_usage"),
            "prefix hits": _ratio(page, "prefix_cache_hits", "prefix_cache_queries"),
        },
        ("tokens", "output tokens/s, by the engine's own counter", "tokens/s"): {
            "output tokens/s": _rate(page, "generation_tokens"),
        },
        ("power", "power", "W"): dict(_power(log)),
        ("busy", "how busy the machines were", "share"): {
            "GPU utilisation": _utilisation(log),
            "processors of this machine": _ratio(process, "host_busy_s", "host_all_s"),
        },
        ("cores", "processor cores of the engine", "cores"): {"cores": _rate(process, "engine_cpu_s")},
    }
    told = []
    for (name, title, unit), lines in parts.items():
        binned = {label: _binned(points, edges) for label, points in lines.items() if points}
        binned = {label: line for label, line in binned.items() if not np.isnan(line).all()}
        if binned:
            told.append(Part(name, title, unit, binned))
    return told


def _log(analysis: Analysis) -> TelemetryLog:
    """Telemetry that cannot be read is no reason to tell nothing else."""
    try:
        return read_telemetry(analysis.folder.telemetry) if analysis.folder else TelemetryLog()
    except ResultsError:
        return TelemetryLog()


def _gauge(samples: Iterable[Sample], name: str) -> Points:
    return [(_at(sample), sample.values[name]) for sample in samples if name in sample.values]


def _steps(samples: Sequence[Sample], *names: str) -> Iterable[tuple[float, float, list[float]]]:
    """Middle and length of every stretch between two samples, and what the counters gained in it. A counter that went
    back was reset: that stretch is left out."""
    known = [sample for sample in samples if all(name in sample.values for name in names)]
    for before, after in pairwise(known):
        gained = [after.values[name] - before.values[name] for name in names]
        seconds = _at(after) - _at(before)
        if seconds > 0 and min(gained) >= 0:
            yield (_at(before) + _at(after)) / 2, seconds, gained


def _rate(samples: Sequence[Sample], name: str) -> Points:
    return [(middle, gained[0] / seconds) for middle, seconds, gained in _steps(samples, name)]


def _ratio(samples: Sequence[Sample], over: str, under: str) -> Points:
    return [(middle, gained[0] / gained[1]) for middle, _, gained in _steps(samples, over, under) if gained[1] > 0]


def _power(log: TelemetryLog) -> Iterable[tuple[str, Points]]:
    """The watts of all devices of a kind together: told, or else from their counters of energy."""
    by_kind: dict[str, list[Points]] = {}
    for _, points in devices(log).values():
        by_kind.setdefault(points[0][1].kind, []).append(_watts(points))
    for kind, several in by_kind.items():
        yield _KINDS[kind], _summed([points for points in several if points])


def _watts(points: Sequence[tuple[float, Device]]) -> Points:
    told = [(at, device.watts) for at, device in points if device.watts is not None]
    if told:
        return told
    found = []
    for (start, before), (end, after) in pairwise(points):
        if before.joules is not None and after.joules is not None and end > start and after.joules >= before.joules:
            found.append(((start + end) / 2, (after.joules - before.joules) / (end - start)))
    return found


def _summed(several: Sequence[Points]) -> Points:
    """The sum of devices at the instants of the first; each is taken to change in straight lines."""
    if not several:
        return []
    times = [at for at, _ in several[0]]
    total = np.zeros(len(times))
    for points in several:
        total += np.interp(times, [at for at, _ in points], [watts for _, watts in points])
    return list(zip(times, total.tolist(), strict=True))


def _utilisation(log: TelemetryLog) -> Points:
    """The mean of all GPUs, of the first source that sees any."""
    for source in ("nvml", "dcgm", "amdsmi"):
        found = [(_at(sample), _mean(sample, lambda device: device.utilisation)) for sample in log.of(source)]
        known = [(at, value) for at, value in found if value is not None]
        if known:
            return known
    return []


def _mean(sample: Sample, of: Callable[[Device], float | None]) -> float | None:
    values = [value for device in sample.devices.values() if (value := of(device)) is not None]
    return sum(values) / len(values) if values else None


def _at(sample: Sample) -> float:
    return sample.t_ns / NS_PER_S


def _binned(points: Points, edges: Floats) -> Floats:
    """The mean of the values in each bin; NaN where there is none."""
    times, values = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    number, _ = np.histogram(times, edges)
    total, _ = np.histogram(times, edges, weights=values)
    means: Floats = np.divide(total, number, out=np.full(len(number), np.nan), where=number > 0)
    return means
