"""A run pushed to a Prometheus Pushgateway (https://github.com/prometheus/pushgateway, README, "API").

harness report RUN --format pushgateway -O http://gateway:9091

The body is the text format 0.0.4, sent with PUT: it replaces what the group held before. The group is
`job="harness"` and `name`, the run's name, unless the URL names one itself (`.../metrics/job/...`).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx

from harness.errors import ResultsError
from harness.report.exposition import families
from harness.report.figures import clean

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

TIMEOUT_S = 10.0
_GROUP = "/metrics/job/"


class PushgatewayReport:
    """For dashboards that are fed by jobs too short to be scraped."""

    name = "pushgateway"
    extension = "txt"

    def render(self, analysis: Analysis) -> str:
        """The body of the push. Timestamps are left out: a Pushgateway refuses them."""
        return "\n".join(families(analysis.summary)) + "\n"

    def push(self, analysis: Analysis, url: str) -> None:
        """Send it. Userinfo in the URL is sent as basic authentication and told nowhere.

        Raises:
            ResultsError: the gateway cannot be reached or refuses the push; its answer is told.
        """
        place = _place(url, analysis.summary.run.name)
        told = str(httpx.URL(place).copy_with(userinfo=b""))
        try:
            answer = httpx.put(
                place,
                content=self.render(analysis).encode(),
                headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"},
                timeout=TIMEOUT_S,
            )
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ResultsError(
                f"cannot push to {told}: {why}", remedy="is a Pushgateway running there? The run itself is kept"
            ) from error
        if not answer.is_success:
            why = clean(answer.text, 300) or "no explanation"
            raise ResultsError(
                f"{told} refused the push with {answer.status_code}: {why}",
                remedy="give the gateway's own URL, http://HOST:9091, and what it asks for. The run itself is kept",
            )


def _place(url: str, name: str) -> str:
    """Where to push: the group of the run, or the one that the URL names."""
    if _GROUP in url:
        return url
    # base64 as the README asks: a slash would end the value, and a plain empty one would vanish from the path
    value = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=") or "="
    return f"{url.rstrip('/').removesuffix('/metrics')}{_GROUP}harness/name@base64/{value}"
