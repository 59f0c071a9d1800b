import dataclasses
import itertools

import numpy as np
import pytest

from harness.metrics.analysis import Analysis
from harness.report import charts
from harness.report.waterfall import LABEL, WIDTH, waterfalls


def test_bands_are_exact_quantiles_of_each_bin() -> None:
    where = np.array([0.5, 0.6, 0.7, 1.5, 9.0])
    values = np.array([1.0, 3.0, 2.0, 7.0, 5.0])
    lines = charts.bands(where, values, np.array([0.0, 1.0, 2.0, 3.0]))
    assert lines["p50"] == [2.0, 7.0, None]
    assert lines["p95"][0] == pytest.approx(2.9)
    assert charts.bands(where, values, np.array([0.0, 1.0, 2.0]), fewest=2)["p50"] == [2.0, None]


def test_unknown_values_leave_no_trace_in_a_band() -> None:
    lines = charts.bands(np.array([0.1, 0.2]), np.array([np.nan, 4.0]), np.array([0.0, 1.0]))
    assert lines["p50"] == [4.0]


def test_tokens_over_time_add_up_to_all_tokens(analysis: Analysis) -> None:
    data = charts.over_time(analysis)
    assert data is not None
    total = sum(value * data["bin_s"] for value in data["series"]["output_tokens_per_s"])
    assert total == pytest.approx(float(analysis.table.output_tokens.sum()), rel=1e-3)
    assert len(data["x"]) <= charts.TIME_BINS + 1


def test_answers_that_were_not_streamed_arrive_at_their_end(analysis: Analysis) -> None:
    table = analysis.table
    bare = dataclasses.replace(
        table,
        chunk_from=np.zeros_like(table.chunk_from),
        chunk_us=np.empty(0, dtype=np.int64),
        chunk_tokens=np.empty(0, dtype=np.int32),
    )
    data = charts.over_time(dataclasses.replace(analysis, table=bare))
    assert data is not None
    total = sum(value * data["bin_s"] for value in data["series"]["output_tokens_per_s"])
    assert total == pytest.approx(float(table.output_tokens.sum()), rel=1e-3)


def test_the_distribution_rises_from_zero_to_one(analysis: Analysis) -> None:
    data = charts.distributions(analysis, ["ttft", "e2e"])
    assert data is not None
    for line in data["series"].values():
        assert line[0] == 0 and line[-1] == 1
        assert all(a <= b for a, b in itertools.pairwise(line))
    assert charts.distributions(analysis, ["connect"]) is None


def test_prompt_lengths_that_hardly_differ_make_no_chart(analysis: Analysis) -> None:
    assert charts.by_prompt_length(analysis) is not None
    same = dataclasses.replace(analysis.table, input_tokens=np.full(analysis.table.n, 100))
    assert charts.by_prompt_length(dataclasses.replace(analysis, table=same)) is None


def test_bars_of_a_waterfall_lie_inside_the_drawing_and_in_order(analysis: Analysis) -> None:
    drawn = waterfalls(analysis)
    assert [fall.title for fall in drawn] == ["Median session", "p95 session", "Slowest session"]
    for fall in drawn:
        assert [lane.label for lane in fall.lanes][-1] == "reduce"
        assert fall.left_out == 0
        for lane in fall.lanes:
            assert [bar.kind for bar in lane.bars] == ["lag", "prefill", "decode"]
            assert lane.bars[0].x >= LABEL
            assert lane.bars[-1].x + lane.bars[-1].width <= WIDTH
        assert fall.ticks[0][1] == "0 s"


def test_the_median_waterfall_is_the_session_of_the_median(analysis: Analysis) -> None:
    median = analysis.summary.metrics["session.makespan"].p50
    assert median is not None
    near = sorted(analysis.sessions.makespan[analysis.samples.sessions], key=lambda value: abs(value - median))
    from harness.units import format_duration

    assert waterfalls(analysis)[0].makespan in {format_duration(float(value)) for value in near[:2]}
