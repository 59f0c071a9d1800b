"""A Prometheus page: fetched over a connection of its own, and read for the names that are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    import httpx

MOST_BYTES = 16 << 20
_PATIENCE_S = 5.0

# name of a sample -> its series: labels and value
Series = dict[str, list[tuple[dict[str, str], float]]]


class PageError(Exception):
    """The page cannot be had: it does not answer 200, or not with text of a reasonable length."""


class Page:
    """One metrics page. Not for use by several threads."""

    def __init__(self, url: str, *, headers: dict[str, str] | None = None, verify: bool | str = True) -> None:
        self.url = url
        self._headers = headers or {}
        self._verify = verify
        self._client: httpx.Client | None = None

    def fetch(self) -> str:
        """The text of the page.

        Raises:
            PageError: what came was not it, or nothing came.
        """
        import httpx

        try:
            if self._client is None:
                self._client = httpx.Client(
                    headers=self._headers, verify=_context(self._verify), timeout=_PATIENCE_S, trust_env=False
                )
            with self._client.stream("GET", self.url) as response:
                if response.status_code != 200:
                    raise PageError(f"{self.url} answers HTTP {response.status_code}")
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise PageError(f"{self.url} gives more than {MOST_BYTES >> 20} MiB")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise PageError(f"{self.url}: {str(error) or type(error).__name__}") from error
        return body.decode("utf-8", "replace")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def looks_like_metrics(text: str) -> bool:
    """Whether the text is a Prometheus page rather than some other answer with status 200."""
    return any(line.startswith(("# TYPE ", "# HELP ")) for line in text.splitlines())


def parse(text: str, wanted: frozenset[str]) -> Series:
    """All series of the samples with these names. A line that cannot be read is left out.

    Only their lines are parsed: a page of thousands of lines costs what a dozen cost.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found: Series = {}
    for line in _lines_of(text, wanted):
        try:
            for family in text_string_to_metric_families(line):
                for sample in family.samples:
                    found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
        except (ValueError, IndexError, KeyError):
            continue
    return found


def _lines_of(text: str, wanted: frozenset[str]) -> Iterable[str]:
    for line in text.splitlines():
        name = line.split("{", 1)[0].split(" ", 1)[0]
        if name in wanted:
            yield line + "\n"


def _context(verify: bool | str) -> bool | ssl.SSLContext:
    """What httpx takes: a CA bundle's path becomes an SSL context."""
    if isinstance(verify, bool):
        return verify
    import ssl

    return ssl.create_default_context(cafile=verify)
