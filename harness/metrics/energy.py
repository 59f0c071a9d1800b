"""Energy of the measured window, from counters and power sampled beside the run.

    counter     E(end) - E(start), each interpolated between the two samples around it
    power       the trapezoid of watts over time, edges interpolated; invalid where samples lie more than 3 s apart
    net         joules - idle watts x window
    facility    joules x PUE;  gCO2 = kWh of the facility x gCO2 per kWh

A counter is preferred to power. Each device counts once: GPUs by NVML, else DCGM, else AMD SMI; processors by RAPL are
added; a meter measures the whole box and replaces them all. A device shared with others is invalid, not divided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.metrics.cost import each
from harness.metrics.summary import EnergyFigures, Finding, Rates
from harness.records.telemetry import Device, TelemetryLog
from harness.units import NS_PER_S

GAP_S = 3.0
SENSOR_WINDOW_S = 30.0
DISAGREE = 0.2
J_PER_KWH = 3.6e6

_GPU_SOURCES = ("nvml", "dcgm", "amdsmi")
# Their power sensor looks 25 % of the time (Yang et al., arXiv 2312.02741), so short windows may miss the load.
_BLINKING = re.compile(r"\b(A100|A800|A30|H100|H200|H800|H20|GH200)\b")

Points = list[tuple[float, Device]]


class Invalid(Exception):
    """The energy of a device cannot be told, and why."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one device drew in a window. `other_j` is what the method that was not chosen says, where it can."""

    joules: float
    method: str
    other_j: float | None = None


def energy_figures(
    log: TelemetryLog,
    start_ns: int,
    end_ns: int,
    rates: Rates,
    *,
    pue: float | None = None,
    carbon: float | None = None,
) -> tuple[EnergyFigures | None, list[Finding]]:
    """Energy of `start_ns` to `end_ns` on the run's axis, and per unit of what `rates` say came out in it.

    None where no device was sampled. `joules` is None, with a finding, where that of any device cannot be told.
    `carbon` is in gCO2 per kWh.
    """
    chosen = devices(log)
    window = (end_ns - start_ns) / NS_PER_S
    if not chosen or window <= 0:
        return None, []
    start, end = start_ns / NS_PER_S, end_ns / NS_PER_S
    found: dict[str, Drawn] = {}
    findings: list[Finding] = []
    for key, (source, points) in chosen.items():
        try:
            found[key] = drawn(points, start, end)
        except Invalid as problem:
            findings.append(
                _finding("energy_invalid", f"the energy of {key} ({source}) is unknown: {problem}", _REMEDY)
            )
    figures = EnergyFigures(source=_told(chosen, found), by_device=dict.fromkeys(chosen), pue=pue)
    figures.by_device |= {key: one.joules for key, one in found.items()}
    findings += _doubts(chosen, found, window)
    if len(found) < len(chosen):
        return figures, findings
    joules = sum(one.joules for one in found.values())
    figures.joules, figures.watts = joules, joules / window
    _per_unit(figures, rates)
    _net(figures, log, chosen, window, rates)
    if pue is not None:
        figures.facility_joules = joules * pue
    if carbon is not None:
        figures.g_co2 = joules * (pue or 1.0) / J_PER_KWH * carbon
    return figures, findings


def devices(log: TelemetryLog) -> dict[str, tuple[str, Points]]:
    """The devices that count, each with the source it is taken from and its samples by time in seconds."""
    told: dict[str, dict[str, Points]] = {}
    for sample in log.samples:
        for key, device in sample.devices.items():
            told.setdefault(sample.source, {}).setdefault(key, []).append((sample.t_ns / NS_PER_S, device))
    order = [*_GPU_SOURCES, *sorted(set(told) - set(_GPU_SOURCES))]
    chosen: dict[str, tuple[str, Points]] = {}
    boxes: dict[str, tuple[str, Points]] = {}
    for source in order:
        anonymous = any(points[0][1].kind == "gpu" for _, points in chosen.values())
        for key, points in told.get(source, {}).items():
            if points[0][1].kind == "box":
                boxes.setdefault(key, (source, points))
            elif source == "dcgm" and anonymous and not key.startswith("GPU-"):
                continue  # without a UUID it may be one that is counted already
            else:
                chosen.setdefault(key, (source, points))
    return boxes or chosen


def drawn(points: Points, start: float, end: float) -> Drawn:
    """Joules of one device from `start` to `end` (s).

    Raises:
        Invalid: it is shared, tells neither energy nor power, or its samples are too few or too far apart.
    """
    if any(device.shared for _, device in points):
        raise Invalid("it is shared with others (MIG), and its sensors see all of it")
    problems, told = [], {}
    for method, ask in (("counter", _by_counter), ("power", _by_power)):
        try:
            told[method] = ask(points, start, end)
        except Invalid as problem:
            problems.append(str(problem))
    if not told:
        raise Invalid("; ".join(problems))
    method = next(iter(told))
    return Drawn(joules=told[method], method=method, other_j=told.get("power") if method == "counter" else None)


def _by_counter(points: Points, start: float, end: float) -> float:
    """The counter's difference, past the place where it starts again."""
    series = [(t, device.joules, device.wrap_j) for t, device in points if device.joules is not None]
    times = [t for t, _, _ in series]
    _check_cover(times, start, end)
    total = [0.0]
    for (_, before, _), (_, after, wrap) in pairwise(series):
        step = (after or 0.0) - (before or 0.0)
        if step < 0:
            if wrap is None or step + wrap < 0:
                raise Invalid("its counter was reset")
            step += wrap
        total.append(total[-1] + step)
    for edge in (start, end):
        after = int(np.searchsorted(times, edge))
        if 0 < after < len(times) and edge not in (times[after], times[after - 1]):
            _check_gap(times[after] - times[after - 1])
    low, high = np.interp([start, end], times, total)
    return float(high - low) * _stretch(times, start, end)


def _by_power(points: Points, start: float, end: float) -> float:
    """The trapezoid of power."""
    series = [(t, device.watts) for t, device in points if device.watts is not None]
    times = [t for t, _ in series]
    _check_cover(times, start, end)
    for before, after in pairwise(times):
        if after > start and before < end:
            _check_gap(after - before)
    low, high = max(start, times[0]), min(end, times[-1])
    inner = [t for t in times if low < t < high]
    at = np.array([low, *inner, high])
    watts = np.interp(at, times, [watts for _, watts in series if watts is not None])
    return float(((watts[1:] + watts[:-1]) / 2) @ np.diff(at)) * _stretch(times, start, end)


def _check_cover(times: list[float], start: float, end: float) -> None:
    if not times:
        raise Invalid("it tells none")
    if len(times) < 2 or min(end, times[-1]) <= max(start, times[0]):
        raise Invalid(f"its {len(times)} samples do not cover the window")
    _check_gap(times[0] - start)
    _check_gap(end - times[-1])


def _check_gap(gap: float) -> None:
    if gap > GAP_S:
        raise Invalid(f"{gap:.1f} s without a sample (limit {GAP_S:g} s)")


def _stretch(times: list[float], start: float, end: float) -> float:
    """The whole window by the part of it that samples cover: 1 but where sampling began late or ended early."""
    return (end - start) / (min(end, times[-1]) - max(start, times[0]))


def _per_unit(figures: EnergyFigures, rates: Rates) -> None:
    watts = figures.watts
    hourly = None if watts is None else watts * 3600
    figures.j_per_output_token = each(watts, rates.output_tokens_per_s)
    figures.j_per_request = each(watts, rates.requests_per_s)
    figures.j_per_session = each(hourly, rates.sessions_per_hour)
    figures.j_per_good_session = each(hourly, rates.goodput_sessions_per_hour)


def _net(
    figures: EnergyFigures, log: TelemetryLog, chosen: dict[str, tuple[str, Points]], window: float, rates: Rates
) -> None:
    """Less what the same devices drew before the load, with the target up and idle."""
    if log.idle is None or figures.joules is None:
        return
    start, end = log.idle.start_ns / NS_PER_S, log.idle.end_ns / NS_PER_S
    try:
        idle = sum(drawn(points, start, end).joules for _, points in chosen.values())
    except Invalid:
        return
    figures.idle_watts = idle / (end - start)
    figures.net_joules = figures.joules - figures.idle_watts * window
    figures.net_j_per_output_token = each(figures.net_joules / window, rates.output_tokens_per_s)


_REMEDY = "sample each second (telemetry.interval: 1s), or use a meter (telemetry.power_command)"


def _doubts(chosen: dict[str, tuple[str, Points]], found: dict[str, Drawn], window: float) -> list[Finding]:
    """What to know of figures that are valid."""
    doubts = []
    blinking = sorted({points[0][1].name for key, (_, points) in chosen.items() if _BLINKING.search(points[0][1].name)})
    if blinking and window < SENSOR_WINDOW_S:
        message = f"power sensors of {', '.join(blinking)} look 25 % of the time: {window:.1f} s are too short for them"
        doubts.append(_finding("energy_window_short", message, "measure 30 s or longer (load.duration)"))
    for key, one in found.items():
        if one.other_j is not None and abs(one.other_j - one.joules) > DISAGREE * one.joules and window >= GAP_S:
            message = f"{key}: its counter says {one.joules:.4g} J, its power samples {one.other_j:.4g} J"
            doubts.append(_finding("energy_uncertain", message, "measure longer, or use a meter"))
    if {points[0][1].kind for _, points in chosen.values()} == {"gpu"}:
        message = "energy is that of the GPUs alone: processors, memory and fans are not in it"
        remedy = "use a meter of the whole box (telemetry.power_command)"
        doubts.append(Finding(code="energy_partial", severity="info", message=message, remedy=remedy))
    return doubts


def _finding(code: str, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, remedy=remedy)


def _told(chosen: dict[str, tuple[str, Points]], found: dict[str, Drawn]) -> str:
    """Where the figure comes from: `nvml counter (2 gpu) + rapl counter (1 cpu)`."""
    groups: dict[tuple[str, str, str], int] = {}
    for key, (source, points) in chosen.items():
        method = found[key].method if key in found else "unknown"
        group = source, method, points[0][1].kind
        groups[group] = groups.get(group, 0) + 1
    return " + ".join(f"{source} {method} ({number} {kind})" for (source, method, kind), number in groups.items())
