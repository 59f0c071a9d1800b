"""Records -> summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.metrics.analysis import Analysis
from harness.metrics.catalogue import METRICS
from harness.metrics.cost import Measured, cost, session_costs
from harness.metrics.cost_age import price_findings
from harness.metrics.distribution import distribution
from harness.metrics.energy import energy_figures
from harness.metrics.engine import engine_figures, telemetry_findings
from harness.metrics.evidence import Evidence
from harness.metrics.goodput import Limit, good
from harness.metrics.jobs import session_block
from harness.metrics.prefix import Planned, intended_share
from harness.metrics.samples import Samples
from harness.metrics.sessions import session_table
from harness.metrics.slowdown import slowdowns
from harness.metrics.summary import Finding, MetricStats, RunInfo, Summary, TargetInfo
from harness.metrics.table import RecordTable
from harness.metrics.terms import Terms, read_terms
from harness.metrics.throughput import rates
from harness.metrics.tokens import tally, totals
from harness.metrics.validity import validity
from harness.metrics.window import Window, measured_window
from harness.metrics.wire import wire_figures
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record
from harness.records.telemetry import TelemetryLog, read_telemetry
from harness.units import NS_PER_S


def summarise(folder: RunFolder, limits: Sequence[Limit] = (), planned: Planned | None = None) -> Analysis:
    """All figures of a finished or interrupted run but its SLO verdicts (`judge.evaluate` adds those).

    `limits` say what a good request or session is; without them goodput is None. `planned` is what the plan lets an
    infinite prefix cache hold; the share is noted in the manifest's settings, where it is found when a run is told
    again without its plan.

    Raises:
        ResultsError: the folder cannot be read.
    """
    table, log = RecordTable.read(folder.records()), read_telemetry(folder.telemetry)
    alone = RecordTable.read([folder.solo]) if folder.solo.is_file() else None
    beside = Beside(log=log, alone=alone, planned=planned)
    return replace(analyse(table, folder.read_manifest(), read_terms(folder), limits, beside), folder=folder)


def analyse_records(
    records: Iterable[Record], manifest: Manifest, terms: Terms, limits: Sequence[Limit] = ()
) -> Analysis:
    """The same of records in memory."""
    return analyse(RecordTable.of(records), manifest, terms, limits)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What lies beside the records of the load: telemetry, the sessions replayed alone, what the plan lets a cache
    hold."""

    log: TelemetryLog | None = None
    alone: RecordTable | None = None
    planned: Planned | None = None


def analyse(
    table: RecordTable,
    manifest: Manifest,
    terms: Terms,
    limits: Sequence[Limit] = (),
    beside: Beside | None = None,
) -> Analysis:
    """The walk from a table to a summary."""
    beside = beside or Beside()
    sessions = session_table(table)
    window = measured_window(table, sessions, manifest, terms)
    slowdown = slowdowns(table, sessions, beside.alone)
    samples = Samples(table, sessions, window, limits, session_costs(terms.cost, sessions), slowdown)
    kept = good(table, sessions, limits, samples.by_row)
    counts = tally(table, sessions, window, manifest)
    tokens = totals(table, window)
    pace, intervals = rates(table, sessions, window, kept, closed=terms.closed, seed=manifest.seed)
    summary = Summary(
        run=_run(table, window, manifest),
        target=_target(manifest),
        counts=counts,
        metrics=_metrics(samples, terms),
        rates=pace,
        rates_ci95=intervals,
        tokens=tokens,
        wire=wire_figures(table, window),
        sessions=session_block(
            table, sessions, window, samples, ideal=_ideal(manifest, table, samples, beside), solo=terms.solo
        ),
    )
    seen = _sampled(summary, beside.log, window, terms)
    measured = Measured(table=table, sessions=sessions, window=window, good=kept, summary=summary)
    summary.cost = cost(terms.cost, measured)
    evidence = Evidence(table, sessions, window, manifest, terms, summary, samples.rows)
    summary.validity = validity(evidence, [*seen, *price_findings(terms.cost, manifest.started_at)])
    return Analysis(
        summary=summary,
        manifest=manifest,
        terms=terms,
        table=table,
        sessions=sessions,
        window=window,
        samples=samples,
        good=kept,
    )


def _ideal(manifest: Manifest, table: RecordTable, samples: Samples, beside: Beside) -> float | None:
    """H*: as noted in the manifest, else found from the plan and noted there."""
    if beside.planned is not None:
        share = intended_share(table, samples.rows, beside.planned)
        if share is not None:
            manifest.settings["cached_share"] = share
    noted = manifest.settings.get("cached_share")
    return float(noted) if isinstance(noted, int | float) else None


def _sampled(summary: Summary, log: TelemetryLog | None, window: Window, terms: Terms) -> list[Finding]:
    """What was sampled beside the run: the engine's own figures, energy, and what to know about both."""
    if log is None:
        return []
    start, end = window.start_ns, window.end_ns
    pue, carbon = terms.telemetry.get("pue"), terms.telemetry.get("carbon")
    summary.server, seen = engine_figures(log, start, end)
    summary.energy, doubts = energy_figures(log, start, end, summary.rates, pue=pue, carbon=carbon)
    return [*telemetry_findings(log), *seen, *doubts]


def _run(table: RecordTable, window: Window, manifest: Manifest) -> RunInfo:
    ends = [worker.end_ns for worker in manifest.workers]
    if table.n:
        ends.append(int(table.end_ns.max()))
    return RunInfo(
        id=manifest.run_id,
        name=manifest.name,
        seed=manifest.seed,
        started_at=manifest.started_at,
        duration_s=max(ends, default=0) / NS_PER_S,
        window_s=window.seconds,
        plan_sha256=manifest.plan_sha256,
    )


def _target(manifest: Manifest) -> TargetInfo:
    told = manifest.target
    return TargetInfo(
        backend=str(told.get("backend", "")),
        model=str(told.get("model", "")),
        url=str(told.get("url", "")),
        engine=str(told.get("engine", "")),
        engine_version=told.get("engine_version"),
        simulated=bool(told.get("simulated", False)),
    )


def _metrics(samples: Samples, terms: Terms) -> dict[str, MetricStats]:
    """Every metric that was measured. Money is told in the currency of the config."""
    currency = (terms.cost or {}).get("currency", "USD")
    told = {}
    for name, metric in METRICS.items():
        values = samples.values(name)
        if len(values):
            told[name] = distribution(values, currency if metric.unit == "money" else metric.unit)
    return told
