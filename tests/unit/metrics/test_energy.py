from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.metrics.energy import energy_figures
from harness.metrics.summary import EnergyFigures, Finding, Rates
from harness.records.telemetry import Device, DeviceKind, Idle, Sample, TelemetryLog

S = 1_000_000_000


def series(
    source: str,
    key: str,
    times: range | list[float],
    *,
    kind: DeviceKind = "gpu",
    joules: Callable[[float], float | None] = lambda t: None,
    watts: Callable[[float], float | None] = lambda t: None,
    wrap: float | None = None,
    name: str = "",
    shared: bool = False,
) -> list[Sample]:
    def device(t: float) -> Device:
        return Device(kind=kind, name=name, joules=joules(t), watts=watts(t), wrap_j=wrap, shared=shared)

    return [Sample(source=source, t_ns=round(t * S), devices={key: device(t)}) for t in times]


def energy(
    *groups: list[Sample], start: float = 0, end: float = 40, idle: Idle | None = None, **more: object
) -> tuple[EnergyFigures, list[Finding]]:
    samples = sorted((sample for group in groups for sample in group), key=lambda sample: sample.t_ns)
    rates = more.pop("rates", Rates())
    figures, findings = energy_figures(
        TelemetryLog(samples=samples, idle=idle),
        round(start * S),
        round(end * S),
        rates,
        **more,  # type: ignore[arg-type]
    )
    assert figures is not None
    return figures, findings


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings if finding.code != "energy_partial"]


SECONDS = range(-5, 46)


def test_a_counter_between_samples() -> None:
    """300 W: the counter at 0.5 s is 150 J more than at 0, at 39.25 s 11,775 J more. 11,775 - 150 = 11,625 J."""
    figures, findings = energy(series("nvml", "GPU-0", SECONDS, joules=lambda t: 7000 + 300 * t), start=0.5, end=39.25)
    assert figures.joules == pytest.approx(11625) and figures.watts == pytest.approx(300)
    assert figures.source == "nvml counter (1 gpu)" and figures.by_device == {"GPU-0": figures.joules}
    assert not codes(findings)


def test_power_is_a_trapezoid_with_interpolated_edges() -> None:
    """Power rises 10 W a second from 0 at t = 0. From 1.5 s to 4.5 s: 3 s at 30 W in the middle = 90 J."""
    figures, _ = energy(series("nvml", "GPU-0", range(0, 9), watts=lambda t: 10 * t), start=1.5, end=4.5)
    assert figures.joules == pytest.approx(90) and figures.source == "nvml power (1 gpu)"


def test_a_window_between_two_samples() -> None:
    """At 2.25 s 22.5 W, at 2.75 s 27.5 W: 0.5 s x 25 W = 12.5 J."""
    figures, _ = energy(series("nvml", "GPU-0", range(0, 9), watts=lambda t: 10 * t), start=2.25, end=2.75)
    assert figures.joules == pytest.approx(12.5)


def test_a_counter_that_starts_again() -> None:
    """50 W with a counter of 1,000 J: it starts again twice in 40 s, and 40 x 50 = 2,000 J were drawn."""
    package = series("rapl", "package-0", SECONDS, kind="cpu", joules=lambda t: (700 + 50 * t) % 1000, wrap=1000)
    figures, findings = energy(package)
    assert figures.joules == pytest.approx(2000) and not findings
    assert figures.source == "rapl counter (1 cpu)"


def test_a_counter_that_was_reset_gives_way_to_power() -> None:
    def joules(t: float) -> float:
        return 1e6 + t if t < 20 else t

    figures, _ = energy(series("nvml", "GPU-0", SECONDS, joules=joules, watts=lambda t: 200))
    assert figures.joules == pytest.approx(8000) and figures.source == "nvml power (1 gpu)"
    figures, findings = energy(series("nvml", "GPU-0", SECONDS, joules=joules))
    assert figures.joules is None and figures.by_device == {"GPU-0": None} and codes(findings) == ["energy_invalid"]
    assert "its counter was reset; it tells none" in findings[0].message


def test_two_gpus_add_up_and_one_unknown_makes_the_sum_unknown() -> None:
    both = [series("nvml", f"GPU-{i}", SECONDS, joules=lambda t, i=i: (100 + 50 * i) * t) for i in range(2)]  # type: ignore[misc]
    figures, _ = energy(*both)
    assert figures.joules == pytest.approx(40 * 250) and figures.by_device == {"GPU-0": 4000, "GPU-1": 6000}
    figures, findings = energy(both[0], series("nvml", "GPU-1", SECONDS))
    assert figures.joules is None and figures.by_device == {"GPU-0": 4000, "GPU-1": None}
    assert codes(findings) == ["energy_invalid"] and figures.source == "nvml counter (1 gpu) + nvml unknown (1 gpu)"


def test_a_shared_gpu_is_invalid_not_divided() -> None:
    figures, findings = energy(series("nvml", "GPU-0", SECONDS, joules=lambda t: 100 * t, shared=True), carbon=400.0)
    assert figures.joules is None and figures.g_co2 is None and "MIG" in findings[0].message


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([*range(0, 20), 24, *range(25, 46)], "5.0 s without a sample"),
        ([3.5, *range(4, 46)], "3.5 s without a sample"),
        (list(range(0, 37)), "4.0 s without a sample"),
        ([0.0], "do not cover"),
        ([50.0, 51.0], "do not cover"),
    ],
)
def test_power_with_a_hole_is_invalid(times: list[float], said: str) -> None:
    figures, findings = energy(series("nvml", "GPU-0", times, watts=lambda t: 100))
    assert figures.joules is None and said in findings[0].message and "telemetry.interval" in findings[0].remedy


def test_a_hole_within_costs_a_counter_nothing_but_at_an_edge_it_does() -> None:
    within = [*range(-2, 10), *range(30, 46)]
    figures, _ = energy(series("nvml", "GPU-0", within, joules=lambda t: 100 * t))
    assert figures.joules == pytest.approx(4000)
    figures, findings = energy(series("nvml", "GPU-0", within, joules=lambda t: 100 * t), end=20)
    assert figures.joules is None and "21.0 s without a sample" in findings[0].message


def test_sampling_that_ends_a_little_early_is_stretched() -> None:
    """100 W seen from 0 to 38 s of 40 s: 3,800 J x 40/38 = 4,000 J."""
    for told in ({"joules": lambda t: 100 * t}, {"watts": lambda t: 100.0}):
        figures, _ = energy(series("nvml", "GPU-0", range(0, 39), **told))  # type: ignore[arg-type]
        assert figures.joules == pytest.approx(4000)


def test_the_same_gpu_counts_once() -> None:
    nvml = series("nvml", "GPU-a", SECONDS, joules=lambda t: 100 * t)
    dcgm = series("dcgm", "GPU-a", SECONDS, joules=lambda t: 101 * t)
    other = series("dcgm", "GPU-b", SECONDS, joules=lambda t: 10 * t)
    nameless = series("dcgm", "host/0", SECONDS, joules=lambda t: 1 * t)
    figures, _ = energy(nvml, dcgm, other, nameless)
    assert figures.by_device == {"GPU-a": 4000, "GPU-b": 400}
    figures, _ = energy(nameless)
    assert figures.by_device == {"host/0": 40}


def test_processors_are_added_and_a_meter_replaces_all() -> None:
    gpu = series("nvml", "GPU-a", SECONDS, joules=lambda t: 100 * t)
    cpu = series("rapl", "package-0", SECONDS, kind="cpu", joules=lambda t: 30 * t)
    meter = series("command", "meter", SECONDS, kind="box", watts=lambda t: 180)
    figures, findings = energy(gpu, cpu)
    assert figures.joules == pytest.approx(5200) and not findings
    assert figures.source == "nvml counter (1 gpu) + rapl counter (1 cpu)"
    figures, findings = energy(gpu, cpu, meter)
    assert figures.by_device == {"meter": 7200} and figures.source == "command power (1 box)" and not findings
    _, findings = energy(gpu)
    assert [finding.code for finding in findings] == ["energy_partial"]


def test_per_unit_of_work() -> None:
    """200 W over 50 tokens/s: 4 J a token; over 2 requests/s: 100 J; over 360 sessions an hour: 2,000 J each."""
    rates = Rates(output_tokens_per_s=50, requests_per_s=2, sessions_per_hour=360, goodput_sessions_per_hour=180)
    figures, _ = energy(series("nvml", "GPU-0", SECONDS, joules=lambda t: 200 * t), rates=rates)
    assert figures.j_per_output_token == pytest.approx(4)
    assert figures.j_per_request == pytest.approx(100)
    assert figures.j_per_session == pytest.approx(2000)
    assert figures.j_per_good_session == pytest.approx(4000)
    figures, _ = energy(
        series("nvml", "GPU-0", SECONDS, joules=lambda t: 200 * t), rates=Rates(output_tokens_per_s=0.0)
    )
    assert figures.j_per_output_token is None and figures.j_per_good_session is None


def test_net_of_idle_facility_and_carbon() -> None:
    """Idle at 60 W, 240 W under load: 9,600 J in 40 s, of them 2,400 J idle. At PUE 1.25: 12,000 J = 1/300 kWh; at
    450 g/kWh 1.5 g."""

    def joules(t: float) -> float:
        return 60 * t if t < 0 else 240 * t

    figures, _ = energy(
        series("nvml", "GPU-0", range(-20, 46), joules=joules),
        idle=Idle(start_ns=-15 * S, end_ns=-5 * S),
        rates=Rates(output_tokens_per_s=10),
        pue=1.25,
        carbon=450.0,
    )
    assert figures.joules == pytest.approx(9600) and figures.idle_watts == pytest.approx(60)
    assert figures.net_joules == pytest.approx(7200) and figures.net_j_per_output_token == pytest.approx(18)
    assert figures.facility_joules == pytest.approx(12000) and figures.pue == 1.25
    assert figures.g_co2 == pytest.approx(1.5)
    figures, _ = energy(
        series("nvml", "GPU-0", SECONDS, joules=joules), idle=Idle(start_ns=-30 * S, end_ns=-20 * S), carbon=450.0
    )
    assert figures.net_joules is None and figures.idle_watts is None  # idle was not sampled
    assert figures.facility_joules is None and figures.g_co2 == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("name", "end", "flagged"),
    [("NVIDIA H100 80GB HBM3", 29, True), ("NVIDIA A100-SXM4-40GB", 10, True), ("NVIDIA H100 80GB HBM3", 30, False),
     ("NVIDIA L4", 10, False), ("NVIDIA A10", 10, False)],
)  # fmt: skip
def test_short_windows_of_sensors_that_blink(name: str, end: float, flagged: bool) -> None:
    _, findings = energy(series("nvml", "GPU-0", SECONDS, joules=lambda t: 100 * t, name=name), end=end)
    assert codes(findings) == (["energy_window_short"] if flagged else [])


def test_a_counter_and_a_power_sensor_that_disagree() -> None:
    def gpu(watts: float) -> list[Sample]:
        return series("nvml", "GPU-0", SECONDS, joules=lambda t: 100 * t, watts=lambda t: watts)

    assert codes(energy(gpu(119))[1]) == []
    figures, findings = energy(gpu(130))
    assert codes(findings) == ["energy_uncertain"] and figures.joules == pytest.approx(4000)


def test_no_device_no_figures() -> None:
    assert energy_figures(TelemetryLog(), 0, S, Rates()) == (None, [])
    samples = series("nvml", "GPU-0", SECONDS, joules=lambda t: t)
    assert energy_figures(TelemetryLog(samples=samples), S, S, Rates()) == (None, [])


def test_a_third_partys_source_counts_too() -> None:
    figures, _ = energy(series("npu-smi", "npu-0", SECONDS, kind="gpu", joules=lambda t: 5 * t))
    assert figures.joules == pytest.approx(200) and figures.source == "npu-smi counter (1 gpu)"
