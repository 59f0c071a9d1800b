"""The figures an engine tells about itself, under vLLM's names, as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from harness.sim.source import Source

_FIRST = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
)
_NEXT = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
)
_WHOLE = (
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    120.0,
    240.0,
    480.0,
)

FINISHES = ("stop", "length", "tool_calls", "abort", "error")


class Histogram:
    """Counts of seconds under fixed upper bounds."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The samples of this histogram; `labels` without braces."""
        seen = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {seen}'
        yield f"{name}_count{{{labels}}} {seen}"
        yield f"{name}_sum{{{labels}}} {self.total}"


class Metrics:
    """All counts and histograms of one server. Times in seconds, as the server's own clock saw them."""

    def __init__(self, model: str) -> None:
        escaped = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        self._labels = f'engine="0",model_name="{escaped}"'
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.finished = dict.fromkeys(FINISHES, 0)
        self.ttft = Histogram(_FIRST)
        self.itl = Histogram(_NEXT)
        self.tpot = Histogram(_NEXT)
        self.e2e = Histogram(_WHOLE)
        self.queue = Histogram(_WHOLE)
        self.prefill = Histogram(_WHOLE)
        self.decode = Histogram(_WHOLE)

    def text(self, source: Source) -> bytes:
        """The page of `GET /metrics`."""
        return ("\n".join(self._lines(source)) + "\n").encode()

    def _lines(self, source: Source) -> Iterator[str]:
        running, waiting, usage = source.gauges()
        queries, hits, preemptions = source.counters()
        yield from self._sample("num_requests_running", "gauge", "Requests in the batch.", running)
        yield from self._sample("num_requests_waiting", "gauge", "Requests waiting for a place.", waiting)
        yield from self._sample("kv_cache_usage_perc", "gauge", "KV cache in use; 1 is full.", usage)
        counters = (
            ("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", queries),
            ("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", hits),
            ("num_preemptions_total", "Requests that lost their place and are recomputed.", preemptions),
            ("prompt_tokens_total", "Prompt tokens of requests that got a first token.", self.prompt_tokens),
            ("generation_tokens_total", "Tokens generated.", self.generation_tokens),
        )
        for name, words, value in counters:
            yield from self._sample(name, "counter", words, value)
        yield "# HELP vllm:request_success_total Requests that ended, by reason."
        yield "# TYPE vllm:request_success_total counter"
        for reason, count in self.finished.items():
            yield f'vllm:request_success_total{{{self._labels},finished_reason="{reason}"}} {count}'
        for name, words, histogram in self._histograms():
            yield f"# HELP vllm:{name} {words}"
            yield f"# TYPE vllm:{name} histogram"
            yield from histogram.lines(f"vllm:{name}", self._labels)

    def _histograms(self) -> tuple[tuple[str, str, Histogram], ...]:
        return (
            ("time_to_first_token_seconds", "Request read to first token.", self.ttft),
            ("inter_token_latency_seconds", "Time between successive events of a request.", self.itl),
            ("request_time_per_output_token_seconds", "Mean time of the tokens after the first.", self.tpot),
            ("e2e_request_latency_seconds", "Request read to last token.", self.e2e),
            ("request_queue_time_seconds", "Request read to its first step.", self.queue),
            ("request_prefill_time_seconds", "First step to first token.", self.prefill),
            ("request_decode_time_seconds", "First token to last token.", self.decode),
        )

    def _sample(self, name: str, kind: str, words: str, value: float) -> Iterator[str]:
        yield f"# HELP vllm:{name} {words}"
        yield f"# TYPE vllm:{name} {kind}"
        yield f"vllm:{name}{{{self._labels}}} {value}"
