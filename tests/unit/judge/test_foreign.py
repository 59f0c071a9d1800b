"""Result files of other tools, as their own code writes them, shortened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultsError
from harness.judge.comparison import compare
from harness.judge.subject import open_subject
from harness.metrics.summary import RunInfo, Summary, to_json
from harness.report import comparison as telling

VLLM: dict[str, Any] = {
    "date": "20261121-083400", "backend": "vllm", "model_id": "m", "num_prompts": 200, "request_rate": "inf",
    "duration": 20.0, "completed": 200, "failed": 2, "total_input_tokens": 1000, "total_output_tokens": 4000,
    "request_throughput": 10.0, "output_throughput": 200.0, "total_token_throughput": 250.0,
    "mean_ttft_ms": 110.0, "median_ttft_ms": 100.0, "std_ttft_ms": 20.0, "p99_ttft_ms": 180.0,
    "mean_tpot_ms": 11.0, "median_tpot_ms": 10.0, "std_tpot_ms": 1.0, "p99_tpot_ms": 15.0,
    "mean_itl_ms": 30.0, "median_itl_ms": 29.0,
}  # fmt: skip
SGLANG: dict[str, Any] = {
    "backend": "sglang", "completed": 500, "duration": 20.0, "request_throughput": 25.0, "input_throughput": 50.0,
    "output_throughput": 200.0, "mean_e2e_latency_ms": 900.0, "median_e2e_latency_ms": 800.0, "mean_ttft_ms": 110.0,
    "median_ttft_ms": 100.0, "p99_ttft_ms": 180.0, "mean_tpot_ms": 0.0, "median_tpot_ms": 0.0,
}  # fmt: skip
GUIDELLM: dict[str, Any] = {
    "benchmarks": [
        {
            "metrics": {
                "time_to_first_token_ms": {
                    "successful": {
                        "mean": 110.0, "median": 100.0, "std_dev": 20.0, "count": 400,
                        "percentiles": {"p50": 100.0, "p90": 140.0, "p95": 150.0, "p99": 180.0},
                    }
                },
                "time_per_output_token_ms": {"successful": {"mean": 50.0, "median": 50.0, "count": 400}},
                "inter_token_latency_ms": {"successful": {"mean": 11.0, "median": 10.0, "count": 400}},
                "request_latency": {"successful": {"mean": 0.9, "median": 0.8, "count": 400}},
                "requests_per_second": {"successful": {"mean": 10.0}},
                "output_tokens_per_second": {"successful": {"mean": 200.0}},
            }
        }
    ]
}  # fmt: skip
AIPERF: dict[str, Any] = {
    "request_count": {"unit": "requests", "avg": 400.0},
    "request_throughput": {"unit": "requests/sec", "avg": 10.0},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 200.0},
    "time_to_first_token": {"unit": "ms", "avg": 110.0, "p50": 100.0, "p95": 150.0, "p99": 180.0, "std": 20.0},
    "inter_token_latency": {"unit": "ms", "avg": 11.0, "p50": 10.0},
    "request_latency": {"unit": "ms", "avg": 900.0, "p50": 800.0},
}


@pytest.mark.parametrize(
    ("told", "tool", "p99"),
    [
        (VLLM, "vllm bench serve", None),  # 200 requests are too few for a p99
        (SGLANG, "SGLang bench_serving", 0.18),
        (GUIDELLM, "GuideLLM", 0.18),
        (AIPERF, "AIPerf", 0.18),
    ],
)
def test_what_is_defined_as_ours_is_taken(tmp_path: Path, told: dict[str, Any], tool: str, p99: float | None) -> None:
    path = tmp_path / "their.json"
    path.write_text(json.dumps(told))
    subject = open_subject(path)
    assert subject.facts.foreign == tool
    metrics = subject.summary.metrics
    assert metrics["ttft"].p50 == pytest.approx(0.1)
    assert metrics["ttft"].p99 == (None if p99 is None else pytest.approx(p99))
    assert metrics["ttft"].mean == pytest.approx(0.11)
    assert subject.summary.rates.output_tokens_per_s == (None if tool == "GuideLLM" else 200.0)
    assert subject.summary.rates.requests_per_s in (10.0, 25.0)
    assert "itl" not in metrics
    if tool != "SGLang bench_serving":  # 0 there: answers of one token have no tpot
        assert metrics["tpot"].p50 == pytest.approx(0.01)
    else:
        assert "tpot" not in metrics and metrics["e2e"].p50 == pytest.approx(0.8)


def test_failures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps(VLLM))
    requests = open_subject(tmp_path / "v.json").summary.counts.requests
    assert (requests.sent, requests.ok, requests.failed) == (202, 200, 2)


def test_a_foreign_run_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(json.dumps(SGLANG) + "\n")
    (tmp_path / "ours.json").write_bytes(to_json(Summary(run=RunInfo(id="r", plan_sha256="x"))))
    found = compare([open_subject(tmp_path / "ours.json"), open_subject(tmp_path / "s.jsonl")])
    assert found.runs[1].foreign == "SGLang bench_serving"
    assert all(versus.change == "unknown" for row in found.rows for versus in row.versus)
    assert "B is FOREIGN (SGLang bench_serving)" in telling.text(found)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SGLANG) + "\n" + json.dumps(SGLANG),
        json.dumps({"benchmarks": GUIDELLM["benchmarks"] * 2}),
        '{"some": "thing"}',
        "no json at all",
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ResultsError, match=r"x\.json"):
        open_subject(tmp_path / "x.json")
