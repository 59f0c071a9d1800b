"""Result files of other load generators, read at summary level and told apart as foreign.

Only what is defined as ours is taken. Field names are those of

- `vllm bench serve` (vllm/benchmarks/serve.py) and SGLang's `bench_serving` (one JSON object a line): flat keys such as
  `median_ttft_ms`; TPOT is (latency - ttft) / (tokens - 1), as ours. Their ITL is by event, not by token: left out.
- GuideLLM (`benchmarks[].metrics.*.successful`): its `time_per_output_token_ms` includes the first token and is left
  out; its `inter_token_latency_ms`, a mean for each request, is our TPOT. Its token rates are means of a distribution
  whose meaning differs from version to version: left out.
- AIPerf (`profile_export_aiperf.json`): its `inter_token_latency` is our TPOT.

None of them gives intervals, and percentiles under our sample floors are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from harness.errors import ResultsError
from harness.metrics.quantiles import sample_floor
from harness.metrics.summary import (
    Counts,
    MetricStats,
    Rates,
    RequestCounts,
    RunInfo,
    Summary,
    TargetInfo,
    Tokens,
)

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_AIPERF = {"time_to_first_token": "ttft", "inter_token_latency": "tpot", "request_latency": "e2e"}
_GUIDELLM = {
    "time_to_first_token_ms": ("ttft", 1e-3),
    "inter_token_latency_ms": ("tpot", 1e-3),
    "request_latency": ("e2e", 1.0),
}
_SCALES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}


def read_foreign(raw: bytes, source: str) -> tuple[str, Summary] | None:
    """(the tool, its figures by our definitions); None where the content is of none of the tools.

    Raises:
        ResultsError: it is of one of them, and cannot be used.
    """
    lines = [line for line in raw.splitlines() if line.strip()]
    try:
        told = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        try:
            every = [msgspec.json.decode(line) for line in lines]
        except msgspec.DecodeError:
            return None
        if not all(_flat_of(one) for one in every):
            return None
        if len(every) > 1:
            raise ResultsError(
                f"{source} holds {len(every)} runs", remedy="put the line of one run into a file"
            ) from None
        told = every[0]
    for tool, fits, read in _TOOLS:
        if isinstance(told, Mapping) and fits(told):
            return tool, read(told, source)
    return None


def _flat_of(told: Any) -> bool:
    return isinstance(told, Mapping) and "median_ttft_ms" in told and "completed" in told


def _flat(told: Mapping[str, Any], _source: str) -> Summary:
    """vLLM and SGLang. Their percentiles other than p50 are there only where they were asked for."""
    n = int(told["completed"])
    metrics = {}
    for name, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("e2e", "e2el"), ("e2e", "e2e_latency")):
        known = {key: told.get(f"{key}_{theirs}_ms") for key in ("mean", "std", "median", "p90", "p95", "p99")}
        known["p50"] = known.pop("median")
        stats = _stats(known, n, 1e-3)
        if stats is not None:
            metrics[name] = stats
    output = _number(told.get("output_throughput"))
    total = _number(told.get("total_token_throughput"))
    read = _number(told.get("input_throughput"))
    return Summary(
        run=RunInfo(
            id=str(told.get("date", "")),
            name=str(told.get("label") or told.get("model_id") or told.get("backend") or ""),
            window_s=_number(told.get("duration")) or 0.0,
        ),
        target=TargetInfo(model=str(told.get("model_id", "")), engine=str(told.get("backend", ""))),
        counts=_counts(n, told.get("failed")),
        metrics=metrics,
        rates=Rates(
            output_tokens_per_s=output,
            total_tokens_per_s=total if total is not None or output is None or read is None else output + read,
            requests_per_s=_number(told.get("request_throughput")),
        ),
        tokens=Tokens(input=told.get("total_input_tokens"), output=told.get("total_output_tokens")),
    )


def _guidellm(told: Mapping[str, Any], source: str) -> Summary:
    if len(told["benchmarks"]) != 1:
        raise ResultsError(
            f"{source} holds {len(told['benchmarks'])} benchmarks", remedy="run GuideLLM with one rate for each file"
        )
    metrics: dict[str, MetricStats] = {}
    theirs = told["benchmarks"][0]["metrics"]
    n = 0
    for key, (name, scale) in _GUIDELLM.items():
        part = (theirs.get(key) or {}).get("successful") or {}
        percentiles = part.get("percentiles") or {}
        known = {"mean": part.get("mean"), "std": part.get("std_dev")} | {q: percentiles.get(q) for q in _QUANTILES}
        known["p50"] = part.get("median", known["p50"])
        count = int(part.get("count") or 0)
        n = max(n, count)
        stats = _stats(known, count, scale)
        if stats is not None:
            metrics[name] = stats

    rate = (theirs.get("requests_per_second") or {}).get("successful") or {}
    return Summary(counts=_counts(n, None), metrics=metrics, rates=Rates(requests_per_s=_number(rate.get("mean"))))


def _aiperf(told: Mapping[str, Any], _source: str) -> Summary:
    def figure(key: str) -> float | None:
        return _number((told.get(key) or {}).get("avg"))

    n = int(figure("request_count") or 0)
    metrics: dict[str, MetricStats] = {}
    for key, name in _AIPERF.items():
        part = told.get(key) or {}
        known = {"mean": part.get("avg"), "std": part.get("std")} | {q: part.get(q) for q in _QUANTILES}
        stats = _stats(known, int(part.get("count") or n), _SCALES.get(str(part.get("unit", "ms")), 1e-3))
        if stats is not None:
            metrics[name] = stats
    return Summary(
        counts=_counts(n, figure("error_request_count")),
        metrics=metrics,
        rates=Rates(requests_per_s=figure("request_throughput"), output_tokens_per_s=figure("output_token_throughput")),
    )


def _stats(known: Mapping[str, Any], n: int, scale: float) -> MetricStats | None:
    """Their figures in seconds; None where there is none. A metric whose every figure is 0 was not measured."""
    figures = {key: value * scale for key in known if (value := _number(known[key])) is not None}
    if not any(figures.values()):
        return None
    told = {q: figures[q] for q in _QUANTILES if q in figures and n >= sample_floor(_QUANTILES[q])}
    return MetricStats(unit="s", n=n, mean=figures.get("mean"), stddev=figures.get("std"), **told)  # type: ignore[arg-type]


def _counts(ok: int, failed: Any) -> Counts:
    lost = int(_number(failed) or 0)
    return Counts(requests=RequestCounts(sent=ok + lost, ok=ok, failed=lost))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_guidellm(told: Mapping[str, Any]) -> bool:
    runs = told.get("benchmarks")
    return isinstance(runs, list) and bool(runs) and isinstance(runs[0], Mapping) and "metrics" in runs[0]


def _is_aiperf(told: Mapping[str, Any]) -> bool:
    return isinstance(told.get("request_latency"), Mapping) and isinstance(told.get("request_throughput"), Mapping)


_Fits = Callable[[Mapping[str, Any]], bool]
_Read = Callable[[Mapping[str, Any], str], Summary]

_TOOLS: tuple[tuple[str, _Fits, _Read], ...] = (
    ("SGLang bench_serving", lambda told: _flat_of(told) and "median_e2e_latency_ms" in told, _flat),
    ("vllm bench serve", _flat_of, _flat),
    ("GuideLLM", _is_guidellm, _guidellm),
    ("AIPerf", _is_aiperf, _aiperf),
)
