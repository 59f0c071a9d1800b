"""Results of studies as text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report import paired
from harness.study.ab import AbResult
from harness.units import format_share


def ab_text(result: AbResult) -> str:
    """Plain text."""
    title = paired.head(result.exit_code, result.base, result.candidate)
    return paired.text(title, result.metrics, result.differences, list(_ab_notes(result)))


def ab_markdown(result: AbResult) -> str:
    """GitHub's flavour."""
    title = paired.head(result.exit_code, result.base, result.candidate)
    return paired.markdown(title, result.metrics, result.differences, list(_ab_notes(result)))


def _ab_notes(result: AbResult) -> Iterator[str]:
    yield (
        f"{result.pairs} pairs in the order ABBA, margin {format_share(result.margin)}; intervals are 95 % (Student's t"
        f" over pairs), gated metrics with Holm's correction; could see: found 9 times in 10 (before the test:"
        f" +{format_share(result.could_see_before, 2)})"
    )
    yield from result.notes
    yield f"all runs lie in {result.folder}"
