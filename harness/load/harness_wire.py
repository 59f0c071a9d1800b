"""The harness's own wire: HTTP/1.1 over sockets that the selector serves, with kernel stamps where there are any."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from harness.clock import now_ns
from harness.errors import TargetError
from harness.load.connection import Connection, error_name
from harness.load.exchange import Exchange
from harness.load.kernelclock import AVAILABLE, KernelClock
from harness.load.loop import WireLoop
from harness.load.tls import TlsConnection, context_for
from harness.load.wire import Endpoint

_REFRESH_S = 0.25
_CONNECT_S = 2.0


class HarnessWire:
    """See `harness.load.wire.Wire`. Connections are opened as needed, without a limit, and used again, latest first."""

    def __init__(self, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        self._endpoint = endpoint
        self.loop: WireLoop = asyncio.get_running_loop()  # type: ignore[assignment]
        self.kernel_clock: KernelClock | None = KernelClock() if endpoint.kernel_stamps and AVAILABLE else None
        self.tls_context: ssl.SSLContext | None = context_for(endpoint.verify) if self._tls else None
        self.server_name = self._host
        self.address: tuple[int, Any] = (socket.AF_INET, ("", 0))
        self.reuse = endpoint.reuse
        self.idle: list[Connection] = []
        self.connects = 0
        self.resends = 0
        self._head = self._head_lines(endpoint.headers)
        self._timer: asyncio.TimerHandle | None = None
        self._warming: set[Connection] = set()
        self._warm: asyncio.Future[None] | None = None

    def _head_lines(self, headers: Mapping[str, str]) -> bytes:
        """Header lines that are the same for every request."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        default = 443 if self._tls else 80
        lines = {
            "host": host if self._port == default else f"{host}:{self._port}",
            "accept": "*/*",
            "content-type": "application/json",
            "user-agent": "harness",
            **{name.lower(): value for name, value in headers.items()},
        }
        return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")

    async def open(self, connections: int) -> None:
        """Resolve the name once and open `connections` connections.

        Raises:
            TargetError: the name does not resolve.
        """
        try:
            found = await self.loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(
                f"cannot resolve {self._host}: {error.strerror or error}",
                remedy="check the name in backend.url, and this machine's DNS",
            ) from error
        self.address = await self._answering([(family, address) for family, _, _, _, address in found])
        if self.kernel_clock is not None:
            self._refresh()
        if connections > 0:
            self._warm = self.loop.create_future()
            for _ in range(connections):
                self._open_spare()
            if self._warming:
                await self._warm
            self._warm = None

    async def _answering(self, addresses: list[tuple[int, Any]]) -> tuple[int, Any]:
        """The first address that takes a connection: `localhost` is often two, with a server on one of them."""
        for family, address in addresses if len(addresses) > 1 else ():
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                with suppress(OSError):
                    await asyncio.wait_for(self.loop.sock_connect(probe, address), _CONNECT_S)
                    return family, address
        return addresses[0]

    def _refresh(self) -> None:
        assert self.kernel_clock is not None
        self.kernel_clock.refresh()
        self._timer = self.loop.call_later(_REFRESH_S, self._refresh)

    def _open_spare(self) -> None:
        with suppress(OSError):  # whoever needs it will be told
            self._warming.add(self._connection())

    def _connection(self) -> Connection:
        self.connects += 1
        return TlsConnection(self) if self._tls else Connection(self)

    def connected(self, connection: Connection) -> None:
        """A spare connection stands."""
        self._warming.discard(connection)
        self.idle.append(connection)
        self._warm_done()

    def dropped(self, connection: Connection) -> None:
        """A connection without an exchange is gone: closed by the other side, or it never came to be."""
        self._warming.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._warm_done()

    def _warm_done(self) -> None:
        if not self._warming and self._warm is not None and not self._warm.done():
            self._warm.set_result(None)
            self.loop.wake()

    def render(self, exchange: Exchange) -> None:
        exchange.payload = b"POST %b%b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
            self._base.encode(),
            exchange.path.encode(),
            self._head,
            b"x-request-id: %b\r\n" % exchange.id.encode() if self._endpoint.request_ids else b"",
            len(exchange.body),
            exchange.body,
        )

    def send(self, exchange: Exchange) -> None:
        if not exchange.payload:
            self.render(exchange)
        exchange.sent_ns = now_ns()
        if self.idle:
            self.idle.pop().carry(exchange)
        else:
            self._carry_anew(exchange)
        if self.reuse and not self.idle and not self._warming:
            self.loop.add_chore(self._spare)

    def _spare(self) -> bool:
        """Chore: keep one connection in hand, so that the next request need not wait for one."""
        if not self.idle and not self._warming:
            self._open_spare()
        return False

    def _carry_anew(self, exchange: Exchange) -> None:
        try:
            connection = self._connection()
        except OSError as error:
            exchange.fail(error_name(error), error.strerror)
            self.loop.call_soon(self.finish, exchange, now_ns())
            self.loop.wake()
            return
        connection.carry(exchange)

    def resend(self, exchange: Exchange) -> None:
        """The server had closed the idle connection we took: the request never reached it. `sent_ns` stays."""
        self.resends += 1
        exchange.bytes_out = 0
        self._carry_anew(exchange)

    def abort(self, exchange: Exchange, error: str, detail: str | None = None) -> None:
        if exchange.ended:
            return
        exchange.fail(error, detail)
        connection = exchange.connection
        if isinstance(connection, Connection):
            connection.exchange = None
            connection.close()
        self.finish(exchange, now_ns())

    def finish(self, exchange: Exchange, stamp: int) -> None:
        """Hand the exchange back. Called once for each."""
        if exchange.ended:
            return
        exchange.ended = True
        exchange.end_ns = stamp
        exchange.connection = None
        http = exchange.http
        if http is not None and http.status:
            exchange.status = http.status
            exchange.headers = http.headers
        exchange.done(exchange)
        self.loop.wake()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for connection in (*self.idle, *self._warming):
            connection.close()
        self.idle.clear()
        self._warming.clear()
