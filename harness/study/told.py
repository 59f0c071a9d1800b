"""Results of studies as text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from harness.metrics.summary import CostFigures
from harness.report import paired
from harness.report.comparison import markdown_table, table
from harness.report.figures import clean
from harness.report.markup import escape
from harness.study.ab import AbResult
from harness.study.capacity import CapacityResult
from harness.units import format_money, format_number, format_share


def ab_text(result: AbResult) -> str:
    """Plain text."""
    title = paired.head(result.exit_code, result.base, result.candidate)
    return paired.text(title, result.metrics, result.differences, list(ab_notes(result)))


def ab_markdown(result: AbResult) -> str:
    """GitHub's flavour."""
    title = paired.head(result.exit_code, result.base, result.candidate)
    return paired.markdown(title, result.metrics, result.differences, list(ab_notes(result)))


def ab_notes(result: AbResult) -> Iterator[str]:
    """What the figures are, and what else is to be known."""
    yield (
        f"{result.pairs} pairs in the order ABBA, margin {format_share(result.margin)}; intervals are 95 % (Student's t"
        f" over pairs), gated metrics with Holm's correction; could see: found 9 times in 10 (before the test:"
        f" +{format_share(result.could_see_before, 2)})"
    )
    yield from result.notes
    yield f"all runs lie in {result.folder}"


def capacity_text(result: CapacityResult) -> str:
    """Plain text."""
    lines = ["", f" {_capacity_head(result)}", "", *table(probes(result)), ""]
    return "\n".join([*lines, *(f" · {clean(note)}" for note in capacity_notes(result))]) + "\n"


def capacity_markdown(result: CapacityResult) -> str:
    """GitHub's flavour."""
    lines = [f"## {escape(_capacity_head(result))}", "", *markdown_table(probes(result)), ""]
    return "\n".join([*lines, *(f"- {escape(clean(note))}" for note in capacity_notes(result))]) + "\n"


def _capacity_head(result: CapacityResult) -> str:
    mark = {0: "✓", 10: "✗"}.get(result.exit_code, "!")
    return f"{mark} {clean(result.name, 64)}: {result.answer}   exit {result.exit_code}"


def probes(result: CapacityResult) -> list[list[str]]:
    """A head, and a row a probe."""
    marks = {"holds": "✓ holds", "fails": "✗ fails", "undecided": "! undecided"}
    rows = [
        [
            f"{probe.load:.0f}" if result.key == "load.concurrency" else format_number(probe.load),
            marks[probe.verdict] + (", confirmed" if probe.kind == "confirm" and probe.verdict == "holds" else ""),
            str(len(probe.looks)),
            clean(probe.reason, 90),
        ]
        for probe in result.probes
    ]
    return [[result.unit, "verdict", "looks", "why"], *rows]


def capacity_notes(result: CapacityResult) -> Iterator[str]:
    """What was asked, what it costs there, and what else is to be known."""
    yield f"SLO: {' · '.join(result.slo)}"
    if told := _cost(result.cost):
        yield f"cost at {result.answer.partition(' hold')[0]}: {told}"
    if result.rates is not None and result.rates.output_tokens_per_s is not None:
        yield f"throughput there: {format_number(result.rates.output_tokens_per_s)} tok/s out"
    yield from result.notes
    yield f"all runs lie in {result.folder}"


def _cost(cost: CostFigures | None) -> str:
    if cost is None:
        return ""
    told = {
        "per 1M tokens": cost.per_1m_tokens,
        "per session": cost.per_session,
        "per good session": cost.per_good_session,
    }
    return " · ".join(
        f"{format_money(value, clean(cost.currency, 8))} {words}" for words, value in told.items() if value is not None
    )
