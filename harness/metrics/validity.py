"""Can the run be trusted? Findings from measured data alone, and the verdict that follows from them.

A finding that says something about the target or the reader's expectations, not about the measurement, changes no
verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.metrics.evidence import Evidence
from harness.metrics.quantiles import sample_floor
from harness.metrics.rules import RULES
from harness.metrics.summary import Finding, Severity, Validity, Verdict
from harness.metrics.table import SOURCES
from harness.records import calibration
from harness.units import NS_PER_S, format_duration, format_share

_NEAR_CEILING = 0.7

# Warnings that leave the verdict alone.
ADVISORY = frozenset(
    {
        "not_steady",
        "planned_input_error",
        "coalesced",
        "telemetry_missing",
        "energy_invalid",
        "energy_window_short",
        "energy_uncertain",
    }
)


def validity(evidence: Evidence, beside: Sequence[Finding] = ()) -> Validity:
    """All findings, gravest first, and the verdict. `beside` are those made elsewhere (telemetry)."""
    found = [*beside, *(finding for rule in RULES if (finding := rule.check(evidence)))]
    found += [*_outcome(evidence), *_facts(evidence), *evidence.window.findings, *_noted(evidence)]
    rank = {"error": 0, "warning": 1, "info": 2}
    found.sort(key=lambda finding: rank[finding.severity])
    return Validity(verdict=verdict(found), findings=found)


def verdict(findings: list[Finding]) -> Verdict:
    """Invalid by any error, suspect by any warning about the measurement itself."""
    if any(finding.severity == "error" for finding in findings):
        return "invalid"
    doubt = any(finding.severity == "warning" and finding.code not in ADVISORY for finding in findings)
    return "suspect" if doubt else "valid"


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
    if (manifest.target.get("facts") or {}).get("in_process"):
        yield _finding(
            "in_process",
            "info",
            "the engine worked inside the load generator: these figures hold no network, no HTTP and no server",
            "compare them with other runs in process; for what clients of a server see, ask a server",
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
    yield from _rates_unknown(evidence)
    yield from _retried(evidence)
    yield from _estimated(evidence)
    yield from _few_samples(evidence)
    yield from _ceiling(evidence)


def _rates_unknown(evidence: Evidence) -> Iterator[Finding]:
    """Why there are no rates, though the load had answers."""
    counts, rates, length = evidence.summary.counts, evidence.summary.rates, evidence.window.seconds
    if length <= 0:
        return
    what = ""
    if counts.requests.ok and rates.requests_per_s is None:
        what = "answer"
    elif counts.sessions.finished and rates.sessions_per_hour is None:
        what = "session"
    if what:
        message = f"no {what} ended inside the window of {format_duration(length)}: rates of {what}s are unknown"
        yield _finding("rates_unknown", "info", message, "more sessions (load.sessions) or more time (load.duration)")


def _ceiling(evidence: Evidence) -> Iterator[Finding]:
    """How much of what this machine can generate the run took, where `harness calibrate` has told the ceiling."""
    workers = evidence.manifest.workers
    ceiling = calibration.ceiling(evidence.manifest.calibration)
    lasted = max((worker.end_ns for worker in workers), default=0) / NS_PER_S
    if not ceiling or not lasted:
        return
    share = float(evidence.table.chunks.sum()) / lasted / len(workers) / ceiling
    made_at = (evidence.manifest.calibration or {}).get("made_at", "")[:10]
    message = f"the load took {format_share(share)} of what this machine can generate (calibrated {made_at})"
    remedy = "more workers (load.workers), or a second machine" if share > _NEAR_CEILING else ""
    yield Finding(code="ceiling_share", severity="info", message=message, value=share, limit=1.0, remedy=remedy)


def _retried(evidence: Evidence) -> Iterator[Finding]:
    again = evidence.table.attempt - 1
    if evidence.terms.retry and again.any():
        yield Finding(
            code="retried",
            severity="info",
            message=f"the target was too busy for {int((again > 0).sum())} requests at first: they took"
            f" {int(again.sum())} attempts more, and their latencies hold the waits",
            value=float(again.sum()),
            remedy="less load, or limits.requests_per_minute and limits.tokens_per_minute below its limits",
        )


def _estimated(evidence: Evidence) -> Iterator[Finding]:
    share = evidence.share(np.asarray(evidence.table.source == SOURCES.index("estimate")))
    if share:
        yield Finding(
            code="tokens_estimated",
            severity="info",
            message=f"output tokens of {format_share(share)} of the answers are estimated: so are all figures of them",
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


def _noted(evidence: Evidence) -> Iterator[Finding]:
    """Findings noted while the run was made: those of the run, and those of its workers; of these each code once."""
    manifest, seen = evidence.manifest, set()
    for told in (*manifest.findings, *(told for worker in manifest.workers for told in worker.findings)):
        if told.get("code") not in seen and told.get("severity") in {"info", "warning", "error"}:
            seen.add(str(told.get("code")))
            known = {key: told[key] for key in Finding.__struct_fields__ if key in told}
            yield Finding(**{"message": "", **known})


def _finding(code: str, severity: Severity, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity=severity, message=message, remedy=remedy)
