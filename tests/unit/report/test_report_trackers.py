"""Formats for trackers and dashboards, read back by parsers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.metrics.analysis import Analysis
from harness.metrics.summary import Summary
from harness.report.benchmark_action import BiggerIsBetterReport, SmallerIsBetterReport
from harness.report.bmf import BmfReport
from harness.report.measures import measures
from harness.report.openmetrics import OpenMetricsReport


def test_only_what_is_known_is_told(summary: Summary) -> None:
    told = {one.name: one for one in measures(summary)}
    assert told["ttft.p50"].value == 0.1764
    assert (told["ttft.p50"].low, told["ttft.p50"].high) == (0.172, 0.18)
    assert told["output_tokens_per_s"].higher_is_better and not told["ttft.p95"].higher_is_better
    assert told["cost.per_1m_tokens"].unit == "USD"
    assert "session.makespan.p99" not in told
    assert "requests_per_s" not in told


def test_bmf(analysis: Analysis, summary: Summary) -> None:
    """The public schema: objects of objects whose value is a number, bounds optional, nothing else."""
    told = json.loads(BmfReport().render(replace(analysis, summary=summary)))
    ((name, found),) = told.items()
    assert name == "harness/agents-on-vllm"
    assert found["ttft-p50-s"] == {"value": 0.1764, "lower_value": 0.172, "upper_value": 0.18}
    for metric in found.values():
        assert set(metric) <= {"value", "lower_value", "upper_value"}
        assert all(isinstance(value, int | float) for value in metric.values())
    assert all(len(measure) <= 64 for measure in found)


def test_benchmark_action(analysis: Analysis, summary: Summary) -> None:
    run = replace(analysis, summary=summary)
    smaller, bigger = (json.loads(report().render(run)) for report in (SmallerIsBetterReport, BiggerIsBetterReport))
    assert {"name": "ttft.p50", "unit": "s", "value": 0.1764, "range": "± 0.004", "extra": "r1: valid"} in smaller
    assert "output_tokens_per_s" in {one["name"] for one in bigger}
    assert not {one["name"] for one in smaller} & {one["name"] for one in bigger}


@pytest.mark.parametrize("name", ["plain", 'a "b" \\ c\nd'])
def test_openmetrics_is_read_by_a_parser(analysis: Analysis, summary: Summary, name: str) -> None:
    summary.run.name = name
    text = OpenMetricsReport().render(replace(analysis, summary=summary))
    found = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = found["harness_ttft_p50_seconds"].samples
    assert sample.value == 0.1764
    assert sample.labels == {"name": name.replace("\n", " "), "engine": "vllm", "model": "Llama-3.1-8B"}
    assert found["harness_ttft_p50_seconds_high"].samples[0].value == 0.18
    assert found["harness_slo_held"].samples[0].labels["expr"] == "ttft.p95 < 500ms"
    assert found["harness_run_valid"].samples[0].value == 1
