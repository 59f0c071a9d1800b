from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.engine import covering, difference, engine_figures, quantile, telemetry_findings
from harness.records.telemetry import Device, Histogram, Notice, Sample, TelemetryLog, TelemetryWriter, read_telemetry

S = 1_000_000_000
BOUNDS = [0.1, 0.2, 0.4]


def histogram(*counts: float, total: float = 0.0) -> Histogram:
    return Histogram(counts=list(counts), sum=total, bounds=BOUNDS)


def page(t: float, histograms: dict[str, Histogram] | None = None, **values: float) -> Sample:
    return Sample(source="prometheus", t_ns=round(t * S), values=values, histograms=histograms or {})


def log(*samples: Sample) -> TelemetryLog:
    return TelemetryLog(samples=list(samples))


def test_a_histogram_of_the_window_by_hand() -> None:
    """Before: 5 in the first bucket and 1 beyond. After: 25, 40, 20, 1. The window holds 20, 40, 20, 0: n = 80.

    p50: rank 40, 20 below 0.1, so half into the bucket 0.1-0.2: 0.1 + 0.1 x 20/40 = 0.15.
    p95: rank 76, 60 below 0.2, so 16/20 into 0.2-0.4: 0.2 + 0.2 x 0.8 = 0.36. p99 needs 299.
    mean: (13 - 1) / 80 = 0.15.
    """
    figures, findings = engine_figures(
        log(
            page(10, {"ttft": histogram(5, 0, 0, 1, total=1.0)}),
            page(20, {"ttft": histogram(9, 9, 9, 1, total=9.0)}),
            page(40, {"ttft": histogram(25, 40, 20, 1, total=13.0)}),
            page(50, {"ttft": histogram(99, 99, 99, 99, total=99.0)}),
        ),
        11 * S,
        39 * S,
    )
    assert figures is not None and not findings
    assert figures["ttft"] == pytest.approx({"n": 80, "mean": 0.15, "p50": 0.15, "p95": 0.36, "p99": None})
    assert figures["within"] == {"ttft.p50": [0.1, 0.2], "ttft.p95": [0.2, 0.4]}
    assert (figures["window_s"], figures["starts_s"], figures["ends_s"], figures["samples"]) == (30, -1, 1, 3)


def test_beyond_the_last_bound_a_quantile_is_unknown() -> None:
    figures, _ = engine_figures(
        log(page(0, {"e2e": histogram(0, 0, 0, 0)}), page(1, {"e2e": histogram(1, 0, 0, 9)})), 0, S
    )
    assert figures is not None
    assert figures["e2e"]["p50"] is None and figures["within"]["e2e.p50"] == [0.4, None]


def test_in_the_lowest_bucket_only_the_bound_is_known() -> None:
    """All of 10 waited 7 ms; 0.05 s, the middle of the bucket, would be a figure that nobody measured."""
    samples = page(0, {"queue": histogram(0, 0, 0, 0)}), page(1, {"queue": histogram(10, 0, 0, 0, total=0.07)})
    figures, _ = engine_figures(log(*samples), 0, S)
    assert figures is not None
    assert figures["queue"] == pytest.approx({"n": 10, "mean": 0.007, "p50": None, "p95": None, "p99": None})
    assert figures["within"] == {"queue.p50": [0.0, 0.1]}


def test_totals_and_gauges_of_the_window() -> None:
    figures, _ = engine_figures(
        log(
            page(0, running=0, waiting=0, generation_tokens=100, prompt_tokens=50, prefix_cache_queries=0,
                 prefix_cache_hits=0, preemptions=1),
            page(5, running=8, waiting=2, kv_cache_usage=0.5, generation_tokens=500, prompt_tokens=250),
            page(10, running=4, waiting=1, kv_cache_usage=0.7, generation_tokens=1100, prompt_tokens=450,
                 prefix_cache_queries=400, prefix_cache_hits=300, preemptions=3),
        ),
        0,
        10 * S,
    )  # fmt: skip
    assert figures is not None
    assert figures["running"] == {"mean": 4, "max": 8} and figures["kv_cache_usage"] == {"mean": 0.6, "max": 0.7}
    assert (figures["output_tokens"], figures["output_tokens_per_s"]) == (1000, 100)
    assert (figures["input_tokens"], figures["input_tokens_per_s"]) == (400, 40)
    assert figures["prefix_cache_hit_share"] == 0.75 and figures["preemptions"] == 2
    assert "spec_accepted_share" not in figures and "cached_input_tokens" not in figures  # unknown is not 0


def test_cached_tokens_stand_in_for_cache_queries_and_drafts_for_speculation() -> None:
    first = page(0, cached_prompt_tokens=0, prompt_tokens=0, spec_drafts=0, spec_draft_tokens=0, spec_accepted_tokens=0)
    last = page(
        1, cached_prompt_tokens=30, prompt_tokens=120, spec_drafts=10, spec_draft_tokens=50, spec_accepted_tokens=40
    )
    figures, _ = engine_figures(log(first, last), 0, S)
    assert figures is not None
    assert figures["prefix_cache_hit_share"] == 0.25 and figures["cached_input_tokens"] == 30
    assert figures["spec_accepted_share"] == 0.8 and figures["spec_accepted_per_draft"] == 4


def test_no_queries_no_share() -> None:
    same = {"prefix_cache_queries": 7.0, "prefix_cache_hits": 3.0}
    figures, _ = engine_figures(log(page(0, **same), page(1, **same)), 0, S)
    assert figures is not None and "prefix_cache_hit_share" not in figures


def test_a_restarted_server_has_no_figures() -> None:
    for before, after in (
        (page(1, generation_tokens=100), page(2, generation_tokens=40)),
        (page(1, {"ttft": histogram(5, 0, 0, 0)}), page(2, {"ttft": histogram(1, 0, 0, 0)})),
    ):
        figures, findings = engine_figures(log(page(0), before, after), 0, 2 * S)
        assert figures is None and [finding.code for finding in findings] == ["engine_restarted"]


def test_gauges_may_fall() -> None:
    _, findings = engine_figures(log(page(0, running=9), page(1, running=1)), 0, S)
    assert not findings


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 40, [0, 10, 20, 30, 40]),
        (4, 36, [0, 10, 20, 30, 40]),
        (6, 33, [10, 20, 30]),
        (11, 12, [10, 20]),  # both nearest to 10: the samples around it
        (-9, -8, [0]),
        (90, 99, [40]),
    ],
)
def test_the_samples_nearest_to_the_edges(start: int, end: int, expected: list[int]) -> None:
    samples = [page(t) for t in range(0, 50, 10)]
    assert [sample.t_ns // S for sample in covering(samples, start * S, end * S)] == expected
    assert covering([], 0, 1) == []


def test_nothing_was_sampled() -> None:
    assert engine_figures(TelemetryLog(), 0, S) == (None, [])
    assert engine_figures(log(page(0, running=1)), 0, S) == (None, [])


def test_buckets_that_changed_cannot_be_compared() -> None:
    other = Histogram(counts=[1, 1], sum=1, bounds=[0.5])
    assert difference(histogram(0, 0, 0, 0), other) is None
    figures, _ = engine_figures(log(page(0, {"itl": histogram(0, 0, 0, 0)}), page(1, {"itl": other})), 0, S)
    assert figures is not None and "itl" not in figures


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any), st.floats(0.001, 1))
def test_a_quantile_lies_in_its_bucket(counts: list[int], q: float) -> None:
    value, (low, high) = quantile(histogram(*counts), q)
    if high is None:
        assert value is None and low == BOUNDS[-1] and sum(counts[:3]) < q * sum(counts) + 1e-9
    elif low == 0:
        assert value is None and high == BOUNDS[0] and counts[0] >= q * sum(counts) - 1e-9
    else:
        assert value is not None and low <= value <= high + 1e-12
        below = sum(count for bound, count in zip(BOUNDS, counts, strict=False) if bound <= high)
        assert below >= q * sum(counts) - 1e-9


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        quantile(histogram(0, 0, 0, 0), 0.5)


def test_machine_and_gpus() -> None:
    def beside(t: float, cpu: float, rss: float, busy: float) -> Sample:
        values = {"engine_cpu_s": cpu, "engine_rss_bytes": rss, "host_busy_s": busy, "host_steal_s": 0.1 * t}
        return Sample(
            source="process", t_ns=round(t * S), values={**values, "host_all_s": 2 * t, "host_memory_bytes": 9.0}
        )

    gpus = {
        "a": Device(kind="gpu", memory_bytes=10, utilisation=0.5, clock_hz=1e9),
        "b": Device(kind="gpu", memory_bytes=5, utilisation=0.7),
    }
    figures, _ = engine_figures(
        log(
            beside(0, 5.0, 100.0, 1.0),
            Sample(source="nvml", t_ns=0, devices=gpus),
            beside(10, 20.0, 300.0, 16.0),
            Sample(source="nvml", t_ns=10 * S, devices={"a": gpus["a"]}),
        ),
        0,
        10 * S,
    )
    assert figures is not None and set(figures) == {"machine"}
    assert figures["machine"] == pytest.approx(
        {
            "engine_cpu_cores": 1.5, "engine_rss_bytes_max": 300, "host_cpu_share": 0.75, "host_steal_share": 0.05,
            "host_memory_bytes_max": 9, "gpus": 2, "gpu_memory_bytes_max": 15, "gpu_utilisation": 1.7 / 3,
            "gpu_clock_hz": 1e9,
        }
    )  # fmt: skip


def test_an_engine_that_died_has_no_cpu_figure() -> None:
    samples = [Sample(source="process", t_ns=t * S, values={"engine_cpu_s": 5.0 - t}) for t in (0, 1)]
    assert engine_figures(log(*samples), 0, S) == (None, [])


def test_notices_become_findings_once() -> None:
    notices = [
        Notice(source=source, t_ns=t, code="telemetry_missing", severity="info", message="none", remedy="buy")
        for source, t in (("rapl", 0), ("rapl", 1), ("nvml", 2))
    ]
    found = telemetry_findings(TelemetryLog(notices=notices))
    assert [(finding.code, finding.message, finding.remedy) for finding in found] == [
        ("telemetry_missing", "rapl: none", "buy"),
        ("telemetry_missing", "nvml: none", "buy"),
    ]


def test_from_the_file(tmp_path: Path) -> None:
    writer = TelemetryWriter(tmp_path / "telemetry.jsonl")
    for t, counts in ((0, (0, 0, 0, 0)), (1, (2, 4, 2, 0))):
        writer.write(page(t, {"ttft": histogram(*counts)}))
    writer.close()
    figures, _ = engine_figures(read_telemetry(tmp_path / "telemetry.jsonl"), 0, S)
    assert figures is not None and figures["ttft"]["n"] == 8 and figures["ttft"]["p50"] == pytest.approx(0.15)
