"""What each figure means, in a sentence, for the reader of a report. Formulas are those of docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable

DEFINITIONS = {
    "ttft": "Time to first token: from sending the request to the first event with generated output of any kind.",
    "ttfo": "Time to first output: from sending to the first event with output that is not reasoning.",
    "tpot": "Time per output token after the first: (e2e − ttft) / (N − k), with k tokens in the first event.",
    "itl": "Inter-token latency: every gap between output events, spread over the tokens of its event where known.",
    "e2e": "End-to-end latency: from sending to the last event with output.",
    "ttft_intended": "As ttft, but from the instant the request was meant to start: what a user waits.",
    "e2e_intended": "As e2e, but from the instant the request was meant to start: what a user waits.",
    "queue_lag": "From the intended start to sending: the load generator's own lateness and any wait for a slot.",
    "connect": "TCP and TLS time of requests that needed a new connection; it is part of their ttft and e2e.",
    "interactivity": "1 / tpot: how fast text appears for one user.",
    "stall_time": "Sum of a request's gaps longer than 200 ms and five times its median gap.",
    "max_gap": "The longest gap between two output events of a request.",
    "fluidity": "Share of tokens that came on time when each has a deadline and unused slack is carried over.",
    "input_tokens": "Tokens of the prompt, the history included.",
    "output_tokens": "Tokens of the answer, reasoning included.",
    "session.makespan": "From a session's arrival to the end of its last request, think and tool time included.",
    "session.ttfat": "From a session's arrival to the first token of its final answer.",
    "session.critical_path": "The chain of requests and gaps that decided when the session ended.",
    "session.critical_path.prefill": "Part of the critical path spent waiting for first tokens.",
    "session.critical_path.decode": "Part of the critical path spent between first and last tokens.",
    "session.critical_path.gap": "Part of the critical path that is think or tool time, as planned.",
    "session.critical_path.lag": "Part of the critical path lost in the load generator.",
    "session.requests": "Model calls a session makes.",
    "session.tokens": "Input and output tokens a session uses.",
    "session.cost": "Price of a session's tokens.",
    "session.slowdown": "Makespan over the makespan of the same session when it runs alone.",
    "session.straggler": "At a join: how much longer the slowest branch took than the median branch.",
    "session.parallel_efficiency": "At a join: time of all branches over width × the slowest branch.",
}

RATES = {
    "tok/s out": "Output tokens of the measured window, each counted when it arrived, by the seconds of the window.",
    "tok/s total": "The same with the input tokens of the window's requests.",
    "requests/s": "Requests that ended well in the window, by its seconds.",
    "good requests/s": "Those of them that met every limit which the SLOs set on a request.",
    "sessions/h": "Sessions that ended well in the window, by its hours.",
    "good sessions/h": "Those of them that met every limit, themselves and in each of their requests.",
    "offered sessions/s": "Sessions that arrived in the window by the plan, by its seconds: what was asked.",
    "achieved sessions/s": "The same by the pace at which their first requests were sent: what was done.",
}

INTERVAL = (
    "The range in brackets, and half of it after ±, is the 95 % confidence interval: order statistics for "
    "percentiles, with the sample reduced to its effective size where neighbours resemble each other; a block "
    "bootstrap over sessions for rates."
)
FLOOR = "A percentile is told only when the sample is large enough to support it; otherwise its place holds a dash."


def definitions(shown: Iterable[str]) -> dict[str, str]:
    """The definitions of the metrics shown, in their order; a metric of a plug-in may have none."""
    return {name: DEFINITIONS[name] for name in shown if name in DEFINITIONS}
