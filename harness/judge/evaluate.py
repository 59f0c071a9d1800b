"""A run folder -> everything known and judged about it."""

from __future__ import annotations

from harness.judge.breach import broken
from harness.judge.expression import parse_all
from harness.judge.gate import judge_gate
from harness.judge.look import surer
from harness.judge.slo import judge_slos, limits_of
from harness.metrics.analysis import Analysis
from harness.metrics.prefix import Planned
from harness.metrics.summarise import summarise
from harness.metrics.terms import read_terms
from harness.records.folder import RunFolder


def evaluate(folder: RunFolder, planned: Planned | None = None) -> Analysis:
    """Summarise the run and judge it by the SLOs and gates of its own config. `planned`: see `summarise`.

    Raises:
        ResultsError: the folder cannot be read.
        ExpressionError: an SLO or gate of its config cannot be understood.
    """
    terms = read_terms(folder)
    slos, gates = parse_all(terms.slo), parse_all(terms.gate)
    analysis = summarise(folder, limits_of(slos), planned)
    analysis.summary.slo = judge_slos(slos, analysis)
    if terms.max_duration_s is not None:
        analysis.summary.slo = [surer(result) for result in analysis.summary.slo]
    analysis.summary.slo = [broken(result, analysis.manifest) for result in analysis.summary.slo]
    analysis.summary.gate = judge_gate(gates, analysis)
    return analysis
