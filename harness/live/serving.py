"""What a run serves while it goes: metrics for Prometheus, a page for people. Each on its own address, or on one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from harness.errors import UsageError
from harness.live.exporter import Exporter
from harness.live.page import LivePage
from harness.live.progress import Goal
from harness.live.server import LOOPBACK, Server
from harness.records.snapshot import Snapshot

Address = tuple[str, int]

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:/\s]+):)?(?P<port>\d{1,5})")


class Serving:
    """A context manager; the ports are taken on construction, so that a busy one costs no run.

    Args:
        metrics: the address of `--metrics-port`.
        page: the address of `--live-url`.

    Raises:
        UsageError: an address cannot be listened on.
    """

    def __init__(self, *, metrics: Address | None = None, page: Address | None = None) -> None:
        self._servers: list[Server] = []
        self._exporter = Exporter() if metrics else None
        self.page = LivePage() if page else None
        self.told: list[str] = []  # a line each, for whoever started the run
        try:
            self._open(metrics, page)
        except UsageError:
            self.close()
            raise

    def _open(self, metrics: Address | None, page: Address | None) -> None:
        server = None
        if metrics and self._exporter:
            server = self._listen(metrics, "--metrics-port")
            server.show("/metrics", self._exporter.app)
            self.told.append(f"live figures on {server.url}/metrics")
        if page and self.page:
            if server is None or page != metrics or not page[1]:
                server = self._listen(page, "--live-url")
            server.show("/", self.page.document)
            server.show("/state.json", self.page.state)
            self.told.append(f"live page on {server.url}/")

    def _listen(self, address: Address, option: str) -> Server:
        server = Server(*address, option)
        self._servers.append(server)
        return server

    def describe(self, run_id: str, goal: Goal) -> None:
        """Which run this is."""
        if self._exporter is not None:
            self._exporter.describe(run_id, goal)

    def update(self, snapshots: Sequence[Snapshot]) -> None:
        """The latest snapshot of each worker. Returns at once."""
        if self._exporter is not None:
            self._exporter.update(snapshots)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def parse_address(text: str) -> Address:
    """`8080`, `127.0.0.1:8080`, `[::1]:8080`: a port alone is of the loopback.

    Raises:
        UsageError: it is none of these.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        raise UsageError(
            f"--live-url {text}: not an address", remedy="write PORT or HOST:PORT, for example 8080 or 0.0.0.0:8080"
        )
    return (match["host"] or LOOPBACK).strip("[]"), int(match["port"])
