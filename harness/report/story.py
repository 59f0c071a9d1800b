"""What is told about a run, before any format: the verdict, the rows, the lines, in words and figures.

Every format tells this one story, so that a figure on the screen, in Markdown and in HTML is the same figure,
which is the one of `summary.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.metrics.catalogue import METRICS, SCALARS
from harness.metrics.summary import Finding, SloResult, Summary
from harness.report import money, sentences
from harness.report.figures import Figure, amount, clean, count, figure, interval, whole
from harness.report.longer import longer, options
from harness.report.tasks import Tasks, tasks
from harness.units import format_share

Tone = Literal["good", "warn", "bad", "plain"]

MARKS: Mapping[Tone, str] = {"good": "✓", "warn": "!", "bad": "✗", "plain": "·"}

_SEVERITY: Mapping[str, Tone] = {"error": "bad", "warning": "warn", "info": "plain"}
_VERDICT: Mapping[str, Tone] = {"valid": "good", "suspect": "warn", "invalid": "bad"}
_SLO: Mapping[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "warn", "skipped": "plain"}

QUANTITIES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Line:
    """A sentence with a meaning: its tone gives symbol and colour. `remedy` says what to do about it."""

    tone: Tone
    text: str
    remedy: str = ""
    code: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Row:
    """One metric of the headline table."""

    key: str
    n: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Story:
    """Everything a reader is told, in the order of telling. Empty strings are not told."""

    name: str
    verdict: Line
    words: str  # the verdict as a sentence or two
    slo_verdict: Line | None
    warnings: list[Line]  # said loudly, right under the verdict: simulated, interrupted, nothing succeeded
    slo: list[Line]
    target: str
    asked: str
    requests: str
    rows: list[Row]
    time_shares: Sequence[tuple[str, float]]
    rates: list[tuple[str, Figure]]
    throughput: str
    cost: str
    energy: str
    errors: list[Line]
    findings: list[Line]
    estimated: bool
    open_load: bool
    break_even: str = ""
    wire: str = ""
    open_report: str = ""
    next_commands: list[str] = field(default_factory=list)
    tasks: Tasks = field(default_factory=Tasks)


@dataclass(frozen=True)
class Circumstances:
    """What is known of a run beside its figures. All of it may be missing, as when a run was killed early."""

    experiment: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    unended: bool = False  # the manifest was never completed: the process died
    place: str = ""  # the folder, as a person would type it
    has_html: bool = False
    error_examples: Mapping[str, str] = field(default_factory=dict)
    time_shares: Sequence[tuple[str, float]] = ()


def tell(summary: Summary, around: Circumstances) -> Story:
    """The story of a run."""
    told = tasks(summary, sentences.section(around.experiment, "workload"))
    load = sentences.section(around.experiment, "load")
    open_load = load.get("rate") is not None or (not load and "ttft_intended" in summary.metrics)
    return Story(
        name=clean(summary.run.name or summary.run.id, 64),
        verdict=_verdict(summary),
        words=_words(summary),
        slo_verdict=_slo_verdict(summary.slo),
        warnings=_warnings(summary, around),
        slo=[_slo_line(result, summary) for result in (*summary.slo, *summary.gate)],
        target=sentences.target(summary),
        asked=sentences.asked(summary, around.experiment, told.noun),
        requests=sentences.requests(summary),
        rows=_rows(summary, open_load),
        time_shares=around.time_shares,
        rates=sentences.rates(summary),
        throughput=sentences.throughput(summary, told.noun),
        cost=money.cost(summary.cost, told.noun),
        break_even=money.break_even(summary.cost),
        wire=money.wire(summary),
        energy=sentences.energy(summary),
        errors=_errors(summary, around.error_examples),
        findings=[
            _finding(finding) for finding in _by_severity(summary.validity.findings) if not _said(finding, summary)
        ],
        estimated=summary.tokens.source == "estimate",
        open_load=open_load,
        open_report=_open(around),
        next_commands=_next(summary, around, told),
        tasks=told,
    )


def _verdict(summary: Summary) -> Line:
    verdict = summary.validity.verdict
    return Line(_VERDICT[verdict], verdict)


def _words(summary: Summary) -> str:
    findings = summary.validity.findings
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    trust = {
        "valid": "Nothing was found that speaks against these figures.",
        "suspect": f"Use these figures with care: see {count(errors + warnings, 'finding')} below.",
        "invalid": f"Do not use these figures: see {count(errors or warnings, 'finding')} below.",
    }[summary.validity.verdict]
    failed = [clean(result.expr, 60) for result in summary.slo if result.verdict == "fail"]
    unsure = [clean(result.expr, 60) for result in summary.slo if result.verdict == "inconclusive"]
    parts = [trust]
    if failed:
        parts.append(f"Not held: {', '.join(failed)}.")
    if unsure:
        parts.append(f"Too little evidence for: {', '.join(unsure)}.")
    return " ".join(parts)


def _slo_verdict(results: list[SloResult]) -> Line | None:
    if not results:
        return None
    held = sum(result.verdict == "pass" for result in results)
    failed = sum(result.verdict == "fail" for result in results)
    text = f"SLOs {held} of {len(results)} held"
    unsure = len(results) - held - failed
    if unsure:
        text += f", {unsure} inconclusive"
    return Line("bad" if failed else "warn" if unsure else "good", text)


def _warnings(summary: Summary, around: Circumstances) -> list[Line]:
    requests = summary.counts.requests
    lines = []
    if summary.target.simulated:
        lines.append(Line("warn", "SIMULATED TARGET: these figures describe a model of an engine, not a real one"))
    if around.interrupted:
        lines.append(Line("warn", "interrupted: the figures cover what was measured until then"))
    elif around.unended:
        lines.append(Line("bad", "the run did not end by itself: the figures cover what reached the disk"))
    if requests.sent == 0:
        lines.append(Line("bad", "nothing was sent: there is nothing to measure"))
    elif requests.ok == 0:
        lines.append(Line("bad", f"no request succeeded: {whole(requests.failed)} failed"))
    elif not any(stats.n for stats in summary.metrics.values()):
        lines.append(Line("bad", "no request ended inside the measured window: there is no latency to tell"))
    return lines


_METRIC = re.compile(r"^\s*(?:\w+\()?\s*([a-z0-9_]+(?:\.[a-z0-9_]+)*)")


def _slo_line(result: SloResult, summary: Summary) -> Line:
    """The expression as written, the value it was held against, the reason where there is no verdict."""
    unit = _unit(result.expr, summary)
    text = f"{clean(result.expr, 60)}: {amount(result.value, unit)}"
    if result.ci95:
        text += f" ({interval(result.ci95, unit)})"
    if result.verdict != "pass" and result.reason:
        text += f", {clean(result.reason, 100)}"
    return Line(_SLO[result.verdict], text, code=result.verdict)


def _unit(expr: str, summary: Summary) -> str:
    """The unit of what an expression is about. A `regress(...)` is about a share."""
    if expr.lstrip().startswith("regress"):
        return "share"
    match = _METRIC.match(expr)
    name = match[1] if match else ""
    for known in (name, name.rpartition(".")[0]):
        unit = METRICS[known].unit if known in METRICS else SCALARS.get(known)
        if unit == "money":
            return summary.cost.currency if summary.cost else ""
        if unit is not None:
            return unit
    return ""


def _rows(summary: Summary, open_load: bool) -> list[Row]:
    """At most six metrics: what the user feels first."""
    metrics = summary.metrics
    several = metrics.get("session.requests")
    session = ["session.makespan"] if several and (several.mean or 0) > 1 else []
    keys = [*session, "ttft", "tpot"] if session else ["ttft", "tpot", "e2e"]
    if open_load:
        keys = ["ttft_intended", "e2e_intended", *session, "ttft", "tpot"]
    keys.append("session.slowdown")
    return [
        Row(key, metrics[key].n, {name: figure(metrics[key], name) for name in QUANTITIES})
        for key in keys
        if key in metrics and metrics[key].n
    ]


def _errors(summary: Summary, examples: Mapping[str, str]) -> list[Line]:
    by_error = sorted(summary.counts.requests.by_error.items(), key=lambda item: (-item[1], item[0]))
    sent = summary.counts.requests.sent
    return [
        Line(
            "bad",
            f"{clean(name, 40)}: {whole(number)}" + (f" ({format_share(number / sent)})" if sent else ""),
            remedy=clean(examples.get(name, ""), 300),
            code=clean(name, 40),
        )
        for name, number in by_error
    ]


def _by_severity(findings: list[Finding]) -> list[Finding]:
    order = ("error", "warning", "info")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _said(finding: Finding, summary: Summary) -> bool:
    """Whether the loud lines under the verdict say it already."""
    return finding.code == "simulated_target" and summary.target.simulated


def _finding(finding: Finding) -> Line:
    return Line(
        _SEVERITY[finding.severity],
        clean(finding.message, 400),
        clean(finding.remedy, 400),
        clean(finding.code, 60),
    )


def _open(around: Circumstances) -> str:
    """How to see the HTML report."""
    if not around.place:
        return ""
    return f"open {around.place}/report.html" if around.has_html else f"harness report {around.place} --format html"


def _next(summary: Summary, around: Circumstances, told: Tasks) -> list[str]:
    """What to run next: something that helps with what this run lacks."""
    if not around.experiment or not around.place:
        return []
    experiment = f"{around.place}/experiment.yaml"
    if summary.counts.requests.ok == 0:
        return [f"harness probe {experiment}"]
    if any(result.verdict == "inconclusive" for result in summary.slo):
        load = sentences.section(around.experiment, "load")
        return [f"harness run {experiment} {options(longer(summary, load))}"]
    again = f"harness run {experiment} --seed {summary.run.seed + 1}"
    return [f"harness report {around.place} --session slowest", again] if told.joins else [again]
