"""OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec): for GitLab's metrics reports and for
node_exporter's textfile collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.exposition import families

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis


class OpenMetricsReport:
    """For dashboards."""

    name = "openmetrics"
    extension = "txt"

    def render(self, analysis: Analysis) -> str:
        """The whole exposition, ended by `# EOF`."""
        return "\n".join([*families(analysis.summary), "# EOF"]) + "\n"
