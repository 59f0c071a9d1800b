"""The engine's own figures, from the page of metrics it serves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf, isfinite
from urllib.parse import urlsplit

from harness.records.telemetry import Histogram, Reading
from harness.telemetry.aliases import COUNTERS, GAUGES, HISTOGRAMS, SHARES
from harness.telemetry.page import Page, PageError, Series, looks_like_metrics, parse
from harness.telemetry.source import Engine, Missing, Settings

# Below the server's root; the second is where trtllm-serve has it, beside a /metrics that is JSON.
_PAGES = ("/metrics", "/prometheus/metrics")
_SUFFIXES = ("_bucket", "_sum", "_count")


def _names() -> Iterator[str]:
    for table in (GAUGES, SHARES, COUNTERS):
        for aliases in table.values():
            yield from (form for alias in aliases for form in (alias, f"{alias}_total"))
    for aliases in HISTOGRAMS.values():
        yield from (alias + suffix for alias in aliases for suffix in _SUFFIXES)


WANTED = frozenset(_names())


class Prometheus:
    """Canonical gauges and counters in `values`, latencies in `histograms`."""

    name = "prometheus"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._asked = settings.prometheus
        self._engine = engine
        self._page: Page | None = None

    def open(self) -> None:
        if self._asked is False or not (self._engine.url or self._is_url):
            raise Missing(severity=None)
        said = []
        for url in self._urls():
            page = Page(url, headers=self._headers(url), verify=self._engine.verify)
            try:
                text = page.fetch()
            except PageError as error:
                said.append(str(error))
            else:
                if parse(text, WANTED):
                    self._page = page
                    return
                known = "has no name we know" if looks_like_metrics(text) else "is no page of Prometheus metrics"
                said.append(f"{url} {known}")
            page.close()
        raise Missing(
            f"the server's own figures are unknown: {'; '.join(said)}",
            remedy="switch its metrics on (llama-server --metrics, SGLang --enable-metrics), "
            "or name the page: telemetry.prometheus: URL",
            severity="info" if self._asked == "auto" else "warning",
        )

    def sample(self) -> Reading:
        if self._page is None:
            raise Missing("not open")
        return read_page(self._page.fetch())

    def close(self) -> None:
        if self._page is not None:
            self._page.close()

    @property
    def _is_url(self) -> bool:
        return isinstance(self._asked, str) and self._asked != "auto"

    def _urls(self) -> list[str]:
        if self._is_url:
            return [str(self._asked)]
        root = self._engine.url.rstrip("/").removesuffix("/v1")
        return [root + page for page in _PAGES]

    def _headers(self, url: str) -> dict[str, str]:
        """The requests' headers, keys among them, go to the server they are meant for and to nobody else."""
        return self._engine.headers if _origin(url) == _origin(self._engine.url) else {}


def read_page(text: str) -> Reading:
    """The figures we know of a page, by canonical name."""
    series = parse(text, WANTED)
    values: dict[str, float] = {}
    for table, mean in ((GAUGES, False), (COUNTERS, False), (SHARES, True)):
        for name, aliases in table.items():
            told = _first(series, aliases)
            if told:
                values[name] = sum(told) / (len(told) if mean else 1)
    histograms = {}
    for name, aliases in HISTOGRAMS.items():
        for alias in aliases:
            histogram = _histogram(series, alias)
            if histogram is not None:
                histograms[name] = histogram
                break
    return Reading(values=values, histograms=histograms)


def _first(series: Series, aliases: tuple[str, ...]) -> list[float]:
    for alias in aliases:
        for name in (f"{alias}_total", alias):
            told = [value for _, value in series.get(name, ()) if isfinite(value)]
            if told:
                return told
    return []


def _histogram(series: Series, name: str) -> Histogram | None:
    """The histogram summed over its series (models, engines behind one page)."""
    below: dict[float, float] = {}
    for labels, value in series.get(f"{name}_bucket", ()):
        try:
            bound = float(labels["le"])
        except (KeyError, ValueError):
            continue
        if isfinite(value):
            below[bound] = below.get(bound, 0.0) + value
    if inf not in below:
        return None
    bounds = sorted(below)
    cumulative = [0.0, *(below[bound] for bound in bounds)]
    counts = [after - before for before, after in pairwise(cumulative)]
    total = sum(value for _, value in series.get(f"{name}_sum", ()) if isfinite(value))
    return Histogram(counts=counts, sum=total, bounds=bounds[:-1])


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
