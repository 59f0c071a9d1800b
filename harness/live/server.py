"""HTTP for whoever watches a run: one address, a few paths, a thread a request in the parent process.

Workers know nothing of it. Nothing is asked of who reads, and nothing can be changed from there.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from harness.errors import UsageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
_PATIENCE_S = 10.0  # for a client that says nothing


class Server:
    """Serves until closed. The port is taken on construction.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        option: what the user wrote to have it, for the message where it cannot be had.

    Raises:
        UsageError: the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, option: str) -> None:
        self._paths: dict[str, WSGIApplication] = {}
        shown = f"[{host}]" if ":" in host else host
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind((host, port), _Silent)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {shown}:{port} for {option}: {getattr(error, 'strerror', None) or error}",
                remedy=f"another run may hold the port: choose another, or {option} 0 for a free one",
            ) from error
        self._server.set_app(self._answer)
        self.url = f"http://{shown}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="live-server", daemon=True)
        self._thread.start()

    def show(self, path: str, app: WSGIApplication) -> None:
        """Answer `path` with a WSGI application."""
        self._paths[path] = app

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self._paths.get(environ.get("PATH_INFO", "/"))
        if app is None:
            known = "".join(f"{path}\n" for path in self._paths)
            return text(start_response, f"there is only\n{known}".encode(), "text/plain", status="404 Not Found")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return text(start_response, b"only to be read\n", "text/plain", status="405 Method Not Allowed")
        return app(environ, start_response)


def text(
    start_response: StartResponse,
    body: bytes,
    kind: str,
    *,
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    """An answer of UTF-8 text that no one keeps or takes for another type."""
    fixed = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    fixed += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    start_response(status, [*fixed, *headers])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """As HTTPServer does, but without asking for the host's name, which may take seconds."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that went away in the middle is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:
        """No line a request: standard error is the live view's."""
