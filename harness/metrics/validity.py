"""Can the run be trusted? Findings from measured data alone, and the verdict that follows from them.

The limits are those of methodology: beyond a limit the run is invalid, beyond half of it suspect. A finding that
says something about the target or the reader's expectations, not about the measurement, changes no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.metrics.quantiles import sample_floor
from harness.metrics.sessions import SessionTable
from harness.metrics.summary import Finding, Severity, Summary, Validity, Verdict
from harness.metrics.table import SOURCES, UNKNOWN, Bools, RecordTable, counts
from harness.metrics.terms import Terms
from harness.metrics.window import Window
from harness.records.manifest import Manifest

# Warnings that leave the verdict alone.
ADVISORY = frozenset({"not_steady", "planned_input_error", "coalesced"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that findings are made from. `rows` are the ok requests of the window."""

    table: RecordTable
    sessions: SessionTable
    window: Window
    manifest: Manifest
    terms: Terms
    summary: Summary
    rows: Bools

    def worst(self, field: str) -> float | None:
        """The largest value any worker reports of its health; None without reports."""
        values = [getattr(worker.health, field) for worker in self.manifest.workers]
        return max(values, default=None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One measured value against one limit. `error` makes the run invalid beyond the limit, `half` suspect beyond
    half of it. `message` may hold {value} and {limit}.
    """

    code: str
    value: Callable[[Evidence], float | None]
    limit: Callable[[Evidence], float]
    message: str
    remedy: str
    error: bool = True
    half: bool = True

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
            message=self.message.format(value=value, limit=limit),
            value=value,
            limit=limit,
            remedy=self.remedy,
        )


def validity(evidence: Evidence) -> Validity:
    """All findings, gravest first, and the verdict."""
    found = [finding for rule in RULES if (finding := rule.check(evidence))]
    found += [*_outcome(evidence), *_facts(evidence), *evidence.window.findings, *_told_by_workers(evidence)]
    rank = {"error": 0, "warning": 1, "info": 2}
    found.sort(key=lambda finding: rank[finding.severity])
    return Validity(verdict=verdict(found), findings=found)


def verdict(findings: list[Finding]) -> Verdict:
    """Invalid by any error, suspect by any warning about the measurement itself."""
    if any(finding.severity == "error" for finding in findings):
        return "invalid"
    doubts = (f for f in findings if f.severity == "warning" and f.code not in ADVISORY)
    return "suspect" if any(True for _ in doubts) else "valid"


def _share(part: Bools, of: Bools) -> float | None:
    total = int(of.sum())
    return int((part & of).sum()) / total if total else None


def _loop_lag(evidence: Evidence) -> float | None:
    """Only stamps of the user clock suffer from a late loop."""
    blind = (~evidence.table.kernel[evidence.rows]).any()
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


def _pool_waits(evidence: Evidence) -> float | None:
    return None if evidence.terms.capped else evidence.worst("pool_waits")


def _off_by(actual: str, planned: str) -> Callable[[Evidence], float | None]:
    def value(evidence: Evidence) -> float | None:
        ratio = _ratio(evidence, actual, planned)
        return None if ratio is None else float(np.median(np.abs(ratio - 1)))

    return value


def _ratio(evidence: Evidence, actual: str, planned: str) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
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
    return _share(np.asarray(evidence.table.output_tokens == UNKNOWN), evidence.rows)


def _cached_beyond(evidence: Evidence) -> float | None:
    """Measured cached share of the input less the share the plan intends (`settings.cached_share`)."""
    intended = evidence.manifest.settings.get("cached_share")
    told = evidence.rows & (evidence.table.cached_tokens != UNKNOWN) & (evidence.table.input_tokens > 0)
    if intended is None or not told.any():
        return None
    table = evidence.table
    return float(table.cached_tokens[told].sum() / table.input_tokens[told].sum()) - float(intended)


def _coalesced(evidence: Evidence) -> float | None:
    events = int(evidence.table.chunks[evidence.rows].sum())
    return int(evidence.table.coalesced[evidence.rows].sum()) / events if events else None


def _steal(evidence: Evidence) -> float | None:
    """Share of CPU time that the hypervisor took, as noted in the manifest; None where it could not be read."""
    noted = evidence.manifest.machine.get("steal_share")
    return None if noted is None else float(noted)


def _constant(limit: float) -> Callable[[Evidence], float]:
    return lambda evidence: limit


RULES: tuple[Rule, ...] = (
    Rule(
        "loop_lag",
        _loop_lag,
        _constant(0.010),
        "the event loop was late by {value:.4f} s (p99) and stamps are its own: latencies are that uncertain",
        "more workers (load.workers), less load on this machine, or plain TCP on Linux for kernel stamps",
    ),
    Rule(
        "send_lag",
        _send_lag,
        _send_lag_limit,
        "requests left {value:.4f} s late (p99; limit {limit:.4f} s): the target did not get the planned load",
        "more workers (load.workers), or a faster machine for the load generator",
    ),
    Rule(
        "achieved_rate",
        _behind,
        _constant(0.02),
        "sessions were sent {value:.1%} slower than planned: the load generator could not keep up",
        "more workers (load.workers), or a lower load.rate",
    ),
    Rule(
        "worker_cpu",
        lambda evidence: evidence.worst("cpu_share"),
        _constant(0.85),
        "a worker used {value:.0%} of a core: what it measures may be its own slowness",
        "more workers (load.workers), or a faster machine for the load generator",
    ),
    Rule(
        "pool_wait",
        _pool_waits,
        _constant(0),
        "{value:.0f} requests of one worker waited for a connection of ours",
        "raise the limit on open files (ulimit -n), or use more workers",
    ),
    Rule(
        "steal",
        _steal,
        _constant(0.01),
        "the hypervisor took {value:.1%} of this machine's CPU time away",
        "measure on a machine of your own, or at a quieter time",
    ),
    Rule(
        "clock_step",
        lambda evidence: evidence.worst("clock_steps"),
        _constant(0),
        "the wall clock was stepped {value:.0f} times: kernel stamps around a step are off by its size",
        "let the clock settle (chrony, ntpd) before the run, or set load.kernel_stamps: false",
        error=False,
        half=False,
    ),
    Rule(
        "short_output",
        _short_output,
        _constant(0.05),
        "the median answer is {value:.1%} off the fixed length that was asked for",
        "use a server that honours ignore_eos or min_tokens, or leave workload.exact_output out",
    ),
    Rule(
        "tokens_missing",
        _tokens_missing,
        _constant(0.05),
        "tokens of {value:.1%} of the answers are unknown: token metrics leave them out",
        "use a server that gives usage in its stream, or install a tokenizer: "
        "pip install 'inference-harness[tokenizers]'",
    ),
    Rule(
        "cached_tokens",
        _cached_beyond,
        _constant(0.02),
        "the prefix cache held {value:.1%} more of the input than the plan intends: an earlier run warmed it",
        "keep workload.nonce: true, or restart the server",
        error=False,
        half=False,
    ),
    Rule(
        "gc_pause",
        lambda evidence: evidence.worst("gc_pause_max_s"),
        _constant(0.020),
        "Python's garbage collector stopped a worker for {value:.4f} s",
        "more workers (load.workers), each with less to hold",
        error=False,
        half=False,
    ),
    Rule(
        "planned_input_error",
        _off_by("input_tokens", "planned_input"),
        _constant(0.05),
        "prompts are {value:.1%} off their planned length (median)",
        "lengths are calibrated by probing: a longer workload.input_tokens is met more closely",
        error=False,
        half=False,
    ),
    Rule(
        "coalesced",
        _coalesced,
        _constant(0.10),
        "{value:.1%} of the events shared a read with a later one: their stamps are upper bounds",
        "itl is blurred; ttft, tpot and e2e are not. More workers, or a quieter machine",
        error=False,
        half=False,
    ),
)


def _outcome(evidence: Evidence) -> Iterator[Finding]:
    """How the requests ended."""
    requests = evidence.summary.counts.requests
    ended, budget = requests.ok + requests.failed, evidence.terms.error_budget
    if not ended:
        yield _finding("no_requests", "error", "no request was answered", "see the log of the target")
        return
    errors = ", ".join(f"{name} {number}" for name, number in list(requests.by_error.items())[:3])
    rate = requests.failed / ended
    if not requests.ok:
        message = f"all {requests.failed} requests failed ({errors})"
        yield Finding(
            code="all_requests_failed",
            severity="error",
            message=message,
            value=rate,
            limit=budget,
            remedy="see docs/errors.md for what each error means, or try: harness probe",
        )
    elif requests.failed:
        beyond = rate > budget
        yield Finding(
            code="error_rate",
            severity="error" if beyond else "warning",
            message=f"{requests.failed} of {ended} requests failed ({errors})",
            value=rate,
            limit=budget,
            remedy="see docs/errors.md for what each error means"
            + ("; less load, or a higher load.error_budget" if beyond else ""),
        )


def _facts(evidence: Evidence) -> Iterator[Finding]:
    """What a reader must know, whatever the figures are."""
    manifest, terms, summary = evidence.manifest, evidence.terms, evidence.summary
    if summary.target.simulated:
        yield _finding(
            "simulated_target",
            "info",
            "the target is the SIMULATED engine: these figures are of a model, not of any real server",
            "point backend at a real server",
        )
    for worker in manifest.workers:
        if worker.died:
            message = f"worker {worker.worker} died ({worker.died}): its part of the load is missing"
            yield _finding("worker_died", "error", message, "see its last lines on stderr; try fewer sessions a worker")
    if manifest.interrupted or any(worker.interrupted for worker in manifest.workers):
        yield _finding("interrupted", "warning", "the run was interrupted: figures cover what came before", "")
    elif manifest.ended_at is None:
        message = "the run has no end (killed, or still going): requests under way at its end are missing"
        yield _finding("interrupted", "warning", message, "run it again for whole figures")
    damage = evidence.table.damage
    if damage.garbage:
        places = ", ".join(damage.places[:3])
        message = f"{damage.garbage} lines of the records cannot be read ({places}): they are left out"
        yield _finding("garbage_records", "warning", message, "was a file edited, or the disk full?")
    if terms.closed and not (terms.ramp_s or terms.warmup_s or manifest.warmup_sessions):
        message = "no ramp and no warm-up: the burst of the first sessions is part of the figures"
        yield _finding("start_burst_in_window", "info", message, "set load.ramp or load.warmup")
    yield from _estimated(evidence)
    yield from _few_samples(evidence)


def _estimated(evidence: Evidence) -> Iterator[Finding]:
    source = evidence.table.source
    share = _share(np.asarray(source == SOURCES.index("estimate")), evidence.rows)
    if share:
        yield Finding(
            code="tokens_estimated",
            severity="info",
            message=f"output tokens of {share:.0%} of the answers are estimated: so is every figure made from them",
            value=share,
            remedy="use a server that gives usage in its stream, or install a tokenizer: "
            "pip install 'inference-harness[tokenizers]'",
        )


def _few_samples(evidence: Evidence) -> Iterator[Finding]:
    """The first percentile of the headline metrics that the sample is too small for."""
    short = []
    for name in ("ttft", "tpot", "session.makespan"):
        stats = evidence.summary.metrics.get(name)
        lacking = [] if stats is None else [q for q in (0.5, 0.9, 0.95) if stats.n < sample_floor(q)]
        if stats is not None and lacking:
            short.append(f"{name} p{lacking[0] * 100:.0f} needs {sample_floor(lacking[0])}, has {stats.n}")
    if short:
        message = f"too few samples for some percentiles: {'; '.join(short)}"
        yield _finding("few_samples", "info", message, "more sessions (load.sessions) or more time (load.duration)")


def _told_by_workers(evidence: Evidence) -> Iterator[Finding]:
    """Findings that workers made themselves, each code once."""
    seen: set[str] = set()
    for worker in evidence.manifest.workers:
        for told in worker.findings:
            if told.get("code") not in seen and told.get("severity") in {"info", "warning", "error"}:
                seen.add(str(told.get("code")))
                known = {key: told[key] for key in Finding.__struct_fields__ if key in told}
                yield Finding(**{"message": "", **known})


def _finding(code: str, severity: Severity, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity=severity, message=message, remedy=remedy)
