"""Engine, machines and sessions over the run, from telemetry and records made by hand."""

import dataclasses

import numpy as np
import pytest

from harness.metrics.analysis import Analysis
from harness.records.telemetry import Device, Sample, TelemetryWriter
from harness.report import charts
from harness.report.forest import Axis
from harness.report.html import HtmlReport
from harness.report.machines import Part, machine_parts
from tests.unit.report.test_report_html import Page, data_of

S = 1_000_000_000
EDGES = np.array([0.0, 1.0, 2.0, 3.0, 4.0])


def sampled(analysis: Analysis, *samples: Sample) -> dict[str, Part]:
    assert analysis.folder is not None
    writer = TelemetryWriter(analysis.folder.telemetry)
    for sample in samples:
        writer.write(sample)
    writer.close()
    return {part.name: part for part in machine_parts(analysis, EDGES)}


def page(second: float, **values: float) -> Sample:
    return Sample(source="prometheus", t_ns=round(second * S), values=values)


def gpu(second: float, *devices: Device) -> Sample:
    named = {f"GPU-{number}": device for number, device in enumerate(devices)}
    return Sample(source="nvml", t_ns=round(second * S), devices=named)


def test_gauges_are_means_and_counters_are_rates(analysis: Analysis) -> None:
    parts = sampled(
        analysis,
        page(0.2, running=2, generation_tokens=100, prefix_cache_hits=0, prefix_cache_queries=0),
        page(0.6, running=4, generation_tokens=140, prefix_cache_hits=30, prefix_cache_queries=40),
        page(2.6, running=1, generation_tokens=340, prefix_cache_hits=30, prefix_cache_queries=40),
    )
    assert parts["queue"].lines["running"][0] == 3.0
    assert np.isnan(parts["queue"].lines["running"][1])
    assert parts["tokens"].lines["output tokens/s"][:2] == pytest.approx([100.0, 100.0])
    assert parts["cache"].lines["prefix hits"][0] == 0.75
    assert "waiting" not in parts["queue"].lines  # nobody told it: no line of zeros


def test_a_counter_that_was_reset_tells_no_rate(analysis: Analysis) -> None:
    parts = sampled(
        analysis, page(0, generation_tokens=900), page(1, generation_tokens=5), page(2, generation_tokens=25)
    )
    line = parts["tokens"].lines["output tokens/s"]
    assert np.isnan(line[0]) and line[1] == 20.0


def test_power_is_the_sum_of_a_kind_told_or_from_its_counter(analysis: Analysis) -> None:
    def devices(joules: float) -> tuple[Device, ...]:
        return Device(kind="gpu", watts=300, utilisation=0.5), Device(kind="gpu", joules=joules, utilisation=1.0)

    parts = sampled(analysis, gpu(0.1, *devices(0)), gpu(1.1, *devices(200)), gpu(2.1, *devices(400)))
    assert parts["power"].unit == "W"
    assert parts["power"].lines["GPUs"][0] == pytest.approx(500.0)
    assert parts["busy"].lines["GPU utilisation"][0] == 0.75


def test_without_telemetry_there_is_nothing_to_draw(analysis: Analysis) -> None:
    assert machine_parts(analysis, EDGES) == []
    assert machine_parts(dataclasses.replace(analysis, folder=None), EDGES) == []
    assert analysis.folder is not None
    analysis.folder.telemetry.mkdir()  # cannot be read: the rest is told all the same
    assert machine_parts(analysis, EDGES) == []


def test_the_page_draws_and_lists_what_was_sampled(analysis: Analysis) -> None:
    sampled(analysis, *(page(at / 2, running=at, kv_cache_usage=0.25) for at in range(12)))
    text = HtmlReport().render(analysis)
    parts = Page(text)
    told = data_of(parts)
    assert {figure["data-chart"] for figure in parts.all("figure")} >= {"engine-queue", "engine-cache"}
    assert len(told["engine"]["queue"]["series"]["running"]) == len(told["time"]["x"])  # one time axis
    assert "25.0 %" in " ".join(parts.words)


def test_critical_paths_are_stacked_by_length(analysis: Analysis) -> None:
    data = charts.over_critical_paths(analysis, 7)
    assert data is not None
    assert len(data["x"]) == 7 and set(data["series"]) <= set(charts.PARTS)
    sums = np.sum(list(data["series"].values()), axis=0)
    assert (np.diff(sums) > -1e-3).all()
    chosen = analysis.samples.sessions
    assert sums.mean() == pytest.approx(analysis.sessions.critical_path[chosen].mean(), rel=0.05)
    assert charts.over_critical_paths(dataclasses.replace(analysis, sessions=analysis.sessions), 3) is not None


def test_ratios_lie_symmetrically_about_one() -> None:
    axis = Axis(reach=float(np.log(2)))
    assert axis.place(1.0) == 50
    assert axis.place(2.0) - 50 == pytest.approx(50 - axis.place(0.5))
    assert axis.place(100.0) == axis.place(2.0)  # beyond the axis: drawn at its end
    assert axis.ends == ("−50 %", "+100 %")
    assert axis.bar(None) is None
