"""GitHub's job summary: the Markdown report, kept below the size that GitHub takes.

harness run chat.yaml --report github=$GITHUB_STEP_SUMMARY
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import registry
from harness.report.protocol import GROUP

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

LIMIT = 1024 * 1024  # GitHub docs, "Workflow commands": 1 MiB a step
_CUT = "\n\n… cut: a job summary may have 1 MiB. The whole is in the run's folder.\n"


class GitHubReport:
    """For the page of a workflow run."""

    name = "github"
    extension = "md"

    def render(self, analysis: Analysis) -> str:
        """Markdown below 1 MiB."""
        return cut(registry.load(GROUP, "md")().render(analysis))


def cut(text: str, limit: int = LIMIT) -> str:
    """`text` below `limit` bytes, cut at the end of a line."""
    data = text.encode()
    if len(data) < limit:
        return text
    kept = data[: limit - len(_CUT.encode()) - 1]
    return kept[: kept.rfind(b"\n") + 1].decode("utf-8", "ignore").rstrip("\n") + _CUT
