"""GitHub's annotations: workflow commands on standard output, which its log turns into marks on the run's page.

    harness run chat.yaml --report github-annotations=-

The form is `::error title=T::message`, with %, CR and LF escaped, and `:` and `,` too within properties (GitHub docs,
"Workflow commands for GitHub Actions"). GitHub shows ten of a kind for a step, so no more are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from harness.metrics.summary import SloResult, Summary
from harness.report.figures import clean

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

MOST = 10

Kind = Literal["error", "warning", "notice"]

_BY_VERDICT: dict[str, Kind] = {"fail": "error", "inconclusive": "warning", "skipped": "notice"}
_BY_SEVERITY: dict[str, Kind] = {"error": "error", "warning": "warning", "info": "notice"}


class AnnotationsReport:
    """For the log of a GitHub workflow."""

    name = "github-annotations"
    extension = "txt"

    def render(self, analysis: Analysis) -> str:
        """One command a line: the verdict first, then what is gravest."""
        by_kind: dict[Kind, list[str]] = {"error": [], "warning": [], "notice": []}
        for kind, title, message in _told(analysis.summary):
            by_kind[kind].append(command(kind, title, message))
        return "".join(f"{line}\n" for lines in by_kind.values() for line in lines[:MOST])


def command(kind: Kind, title: str, message: str) -> str:
    """One workflow command. Foreign text stays within it."""
    return f"::{kind} title={_property(clean(title, 100))}::{_data(clean(message, 1000))}"


def _told(summary: Summary) -> Iterator[tuple[Kind, str, str]]:
    verdict = summary.validity.verdict
    kinds: dict[str, Kind] = {"valid": "notice", "suspect": "warning", "invalid": "error"}
    held = sum(result.verdict == "pass" for result in summary.slo)
    words = f"{verdict} · {held} of {len(summary.slo)} SLOs held" if summary.slo else verdict
    yield kinds[verdict], f"harness: {summary.run.name or summary.run.id}", words
    for result in (*summary.slo, *summary.gate):
        if result.verdict != "pass":
            yield _BY_VERDICT[result.verdict], result.expr, _result(result)
    for finding in summary.validity.findings:
        remedy = f" → {finding.remedy}" if finding.remedy else ""
        yield _BY_SEVERITY[finding.severity], f"harness: {finding.code}", f"{finding.message}{remedy}"


def _result(result: SloResult) -> str:
    value = "unknown" if result.value is None else f"{result.value:.4g}"
    limit = "" if result.limit is None else f", limit {result.limit:.4g}"
    return f"{result.verdict}: {value}{limit}" + (f" ({result.reason})" if result.reason else "")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
