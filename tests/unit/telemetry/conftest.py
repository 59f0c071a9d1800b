"""What telemetry tests share: settings, an engine on this machine, a tiny HTTP server with one page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.telemetry.source import Engine


@dataclass
class Wanted:
    """The `telemetry` section, with every source off unless asked for."""

    interval: float = 0.01
    idle: float = 0.0
    prometheus: bool | str = False
    gpu: bool | str | list[int] = False
    cpu: bool | str = False
    dcgm: str | None = None
    power_command: str | None = None


@dataclass
class Site:
    """Pages by path: a body, or a status. `seen` holds path and headers of each request."""

    url: str = ""
    pages: dict[str, str | int] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def wanted() -> Callable[..., Wanted]:
    return Wanted


@pytest.fixture
def here() -> Engine:
    return Engine(url="http://127.0.0.1:8000/v1")


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            page = site.pages.get(self.path, 404)
            body = page.encode() if isinstance(page, str) else b""
            self.send_response(200 if isinstance(page, str) else page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()
