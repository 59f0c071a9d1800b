"""Measured values held against limits: beyond a limit the run is invalid, beyond half of it suspect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.metrics.evidence import Evidence
from harness.metrics.prefix import measured_share
from harness.metrics.summary import Finding, Severity
from harness.metrics.table import UNKNOWN, Floats, counts
from harness.units import format_duration, format_number, format_share

_PILED_UP = 0.10  # share of the events whose stamp is that of a later one


@dataclass(frozen=True, slots=True)
class Rule:
    """One measured value against one limit. `error` makes the run invalid beyond the limit, `half` suspect beyond
    half of it. `message` may hold {value} and {limit}, both as `tell` words them.
    """

    code: str
    value: Callable[[Evidence], float | None]
    limit: Callable[[Evidence], float]
    message: str
    remedy: str
    error: bool = True
    half: bool = True
    tell: Callable[[float], str] = format_share

    def check(self, evidence: Evidence) -> Finding | None:
        value = self.value(evidence)
        if value is None:
            return None
        limit = self.limit(evidence)
        if value > limit:
            severity: Severity = "error" if self.error else "warning"
        elif self.half and value > limit / 2:
            severity = "warning"
        else:
            return None
        return Finding(
            code=self.code,
            severity=severity,
            message=self.message.format(value=self.tell(value), limit=self.tell(limit)),
            value=value,
            limit=limit,
            remedy=self.remedy,
        )


def _loop_lag(evidence: Evidence) -> float | None:
    """Stamps of the user clock are as late as the loop. Those of the kernel are not, unless data piles up unread: what
    lies in a socket keeps the stamp of its last part only."""
    blind = (~evidence.table.kernel[evidence.rows]).any() or (_coalesced(evidence) or 0.0) > _PILED_UP
    return evidence.worst("loop_lag_p99_s") if blind else None


def _send_lag(evidence: Evidence) -> float | None:
    return None if evidence.terms.capped else evidence.worst("send_lag_p99_s")


def _send_lag_limit(evidence: Evidence) -> float:
    stats = evidence.summary.metrics.get("ttft")
    middle = None if stats is None else stats.p50
    return max(0.005, 0.02 * (middle or 0.0))


def _behind(evidence: Evidence) -> float | None:
    rates = evidence.summary.rates
    if evidence.terms.capped or not rates.offered_sessions_per_s or rates.achieved_sessions_per_s is None:
        return None
    return 1 - rates.achieved_sessions_per_s / rates.offered_sessions_per_s


def _off_by(actual: str, planned: str) -> Callable[[Evidence], float | None]:
    def value(evidence: Evidence) -> float | None:
        ratio = _ratio(evidence, actual, planned)
        return None if ratio is None else float(np.median(np.abs(ratio - 1)))

    return value


def _ratio(evidence: Evidence, actual: str, planned: str) -> Floats | None:
    wanted = counts(getattr(evidence.table, planned))[evidence.rows]
    got = counts(getattr(evidence.table, actual))[evidence.rows]
    known = ~np.isnan(got) & (wanted > 0)
    return got[known] / wanted[known] if known.any() else None


def _short_output(evidence: Evidence) -> float | None:
    if not evidence.terms.exact_output:
        return None
    ratio = _ratio(evidence, "output_tokens", "planned_output")
    return None if ratio is None else abs(float(np.median(ratio)) - 1)


def _tokens_missing(evidence: Evidence) -> float | None:
    return evidence.share(np.asarray(evidence.table.output_tokens == UNKNOWN))


def _cached_beyond(evidence: Evidence) -> float | None:
    """Measured cached share of the input (H) less the share that the plan intends (H*, an infinite cache's)."""
    intended = evidence.manifest.settings.get("cached_share")
    measured = measured_share(evidence.table, evidence.rows)
    return None if intended is None or measured is None else measured - float(intended)


def _coalesced(evidence: Evidence) -> float | None:
    events = int(evidence.table.chunks[evidence.rows].sum())
    return int(evidence.table.coalesced[evidence.rows].sum()) / events if events else None


def _steal(evidence: Evidence) -> float | None:
    """Share of CPU time that the hypervisor took of any machine, as noted in the manifest; None where nobody knows."""
    machine = evidence.manifest.machine
    noted = [part.get("steal_share") for part in (machine, *(machine.get("nodes") or {}).values())]
    return max((float(share) for share in noted if share is not None), default=None)


def _whole(value: float) -> str:
    return format_number(round(value), 9)


def _constant(limit: float) -> Callable[[Evidence], float]:
    return lambda evidence: limit


RULES: tuple[Rule, ...] = (
    Rule(
        "loop_lag",
        _loop_lag,
        _constant(0.010),
        "the event loop was late by {value} (p99) and stamps with it: latencies are that uncertain",
        "more workers (load.workers), less load on this machine, or plain TCP on Linux for kernel stamps",
        tell=format_duration,
    ),
    Rule(
        "send_lag",
        _send_lag,
        _send_lag_limit,
        "requests left {value} late (p99; limit {limit}): the target did not get the planned load",
        "more workers (load.workers), or a faster machine for the load generator",
        tell=format_duration,
    ),
    Rule(
        "achieved_rate",
        _behind,
        _constant(0.02),
        "sessions were sent {value} slower than planned: the load generator could not keep up",
        "more workers (load.workers), or a lower load.rate",
    ),
    Rule(
        "worker_cpu",
        lambda evidence: evidence.worst("cpu_share"),
        _constant(0.85),
        "a worker used {value} of a core: what it measures may be its own slowness",
        "more workers (load.workers), or a faster machine for the load generator",
    ),
    Rule(
        "steal",
        _steal,
        _constant(0.01),
        "the hypervisor took {value} of this machine's CPU time away",
        "measure on a machine of your own, or at a quieter time",
    ),
    Rule(
        "clock_step",
        lambda evidence: evidence.worst("clock_steps"),
        _constant(0),
        "the wall clock was stepped {value} times: kernel stamps around a step are off by its size",
        "let the clock settle (chrony, ntpd) before the run, or set load.kernel_stamps: false",
        error=False,
        half=False,
        tell=_whole,
    ),
    Rule(
        "short_output",
        _short_output,
        _constant(0.05),
        "the median answer is {value} off the fixed length that was asked for",
        "use a server that honours ignore_eos or min_tokens, or leave workload.exact_output out",
    ),
    Rule(
        "tokens_missing",
        _tokens_missing,
        _constant(0.05),
        "tokens of {value} of the answers are unknown: token metrics leave them out",
        "use a server that gives usage in its stream, or install a tokenizer: "
        "pip install 'inference-harness[tokenizers]'",
    ),
    Rule(
        "cached_tokens",
        _cached_beyond,
        _constant(0.02),
        "the prefix cache held {value} more of the input than the plan intends: an earlier run warmed it",
        "keep workload.nonce: true, or restart the server",
        error=False,
        half=False,
    ),
    Rule(
        "gc_pause",
        lambda evidence: evidence.worst("gc_pause_max_s"),
        _constant(0.020),
        "Python's garbage collector stopped a worker for {value}",
        "more workers (load.workers), each with less to hold",
        error=False,
        half=False,
        tell=format_duration,
    ),
    Rule(
        "slow_disk",
        lambda evidence: evidence.worst("write_lag_max_s"),
        _constant(0.050),
        "writing records held a worker up for {value}",
        "write to a faster or quieter disk: --out DIR",
        error=False,
        half=False,
        tell=format_duration,
    ),
    Rule(
        "planned_input_error",
        _off_by("input_tokens", "planned_input"),
        _constant(0.05),
        "prompts are {value} off their planned length (median)",
        "lengths are calibrated by probing: a longer workload.input_tokens is met more closely",
        error=False,
        half=False,
    ),
    Rule(
        "coalesced",
        _coalesced,
        _constant(_PILED_UP),
        "{value} of the events shared a read with a later one: their stamps are upper bounds",
        "itl is blurred, and ttft where first tokens are among them; e2e is not. A quieter machine, or more workers",
        error=False,
        half=False,
    ),
)
