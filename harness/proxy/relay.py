"""The forwarding path: each client connection has one upstream connection, and bytes go through as they come.

Only heads are written anew: Host is the target's, and what concerns one hop is left out. What is needed for the trace
is kept in lists of bytes and handed over when the answer has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools
import msgspec

from harness.proxy.exchange import Exchange
from harness.proxy.heads import Field, passed_on
from harness.proxy.sending import Outlet
from harness.proxy.target import Target
from harness.proxy.upstream import Upstream

_REASONS = {400: b"Bad Request", 502: b"Bad Gateway"}


class _Asked:
    """A request under way: what it says, and the bytes that are for the target."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.sent: list[bytes] = []  # kept until the answer begins: it may have to be sent again
        self.begun = False  # its answer has


class Client(asyncio.Protocol):
    """The connection of a client. `done` is told of each exchange that has ended, `open_` holds those under way."""

    def __init__(
        self, target: Target, header: bytes, open_: set[Exchange], done: Callable[[Exchange], None], all_: set[Client]
    ) -> None:
        self._target, self._header, self._open, self._done, self._all = target, header, open_, done, all_
        self._parser: Any = httptools.HttpRequestParser(self)
        self._outlet: Outlet | None = None
        self._upstream = Upstream(self)
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._queue: deque[_Asked] = deque()  # the first one is at the target, the others wait for its answer
        self._reading = _Asked(Exchange(0.0))
        self._fields: list[Field] = []
        self._chunked = False

    @property
    def current(self) -> Exchange | None:
        """The exchange whose answer comes next."""
        return self._queue[0].exchange if self._queue else None

    # -- what the client sends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._outlet = Outlet(transport)
        self._all.add(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())  # a request will follow

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "the request is not HTTP/1.1")

    def connection_lost(self, error: Exception | None) -> None:
        self._outlet = None
        self._all.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream.outlet is not None:
            self._upstream.outlet.abort()
        self._give_up()

    def pause_writing(self) -> None:
        if self._upstream.outlet is not None:
            self._upstream.outlet.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream.outlet is not None:
            self._upstream.outlet.transport.resume_reading()

    def on_message_begin(self) -> None:
        self._reading = _Asked(Exchange(time.monotonic()))
        self._fields = []
        self._chunked = False

    def on_url(self, url: bytes) -> None:
        self._reading.exchange.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower, exchange = name.lower(), self._reading.exchange
        if lower == b"transfer-encoding":
            self._chunked = True
        elif lower == b"content-encoding":
            exchange.request_encoding = value.strip().lower()
        if lower == self._header:
            exchange.session = value.decode("latin-1")
        if lower != b"host":
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        exchange = self._reading.exchange
        exchange.method = self._parser.get_method()
        version = self._parser.get_http_version().encode()
        lines = [exchange.method + b" " + exchange.url + b" HTTP/" + version, b"Host: " + self._target.authority]
        lines += [name + b": " + value for name, value in passed_on(self._fields)]
        self._queue.append(self._reading)
        self._open.add(exchange)
        self._send(b"\r\n".join(lines) + b"\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._reading.exchange.wanted:
            self._reading.exchange.request.append(data)
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def on_message_complete(self) -> None:
        if self._chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        asked = self._reading
        if not asked.begun:
            asked.sent.append(data)
        if self._queue and asked is self._queue[0]:
            self._forward(data)

    def _refuse(self, status: int, message: str) -> None:
        if self._outlet is not None:
            body = msgspec.json.encode({"error": {"message": f"harness record: {message}", "code": status}})
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            )
            self._outlet.send(head % (status, _REASONS[status], len(body)) + body)
            self._outlet.transport.close()
        self._give_up()

    # -- the target's side

    def _forward(self, data: bytes) -> None:
        if self._upstream.outlet is not None:
            self._upstream.outlet.send(data)
            return
        self._early.append(data)
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        target, loop = self._target, asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._upstream, target.host, target.port, ssl=target.tls)
        except OSError as error:
            self._connecting = None
            if self._early:  # else whoever asks tries again
                self._refuse(502, f"{target.host}:{target.port} cannot be reached: {error}")

    def connected(self) -> None:
        """What came before there was a connection goes first, ahead of anything read from now on."""
        early, self._early = self._early, []
        if self._outlet is None:
            self._upstream.outlet.abort()  # type: ignore[union-attr]  # the client has left meanwhile
        elif early:
            self._forward(b"".join(early))
        else:
            self._upstream.stood = True

    def to_client(self, data: bytes) -> None:
        if self._outlet is not None:
            self._outlet.send(data)

    def hold(self, full: bool) -> None:
        """The target does not keep up: read no more of the request, or go on."""
        if self._outlet is not None:
            with suppress(RuntimeError):
                (self._outlet.transport.pause_reading if full else self._outlet.transport.resume_reading)()

    def begun(self) -> None:
        self._queue[0].begun = True
        self._queue[0].sent.clear()

    def answered(self) -> None:
        """An answer has ended: whoever has asked meanwhile is next."""
        asked = self._queue.popleft()
        asked.exchange.complete = True
        self._end(asked.exchange)
        if self._queue:
            self._forward(b"".join(self._queue[0].sent))

    def lost(self, error: Exception | None, *, whole: bool) -> None:
        """The target has closed: so do we, in its way; but not between two answers, since many servers close a
        connection that they said they would keep. The next request, or one that just missed it, gets a new one."""
        if whole and self._queue:
            self._queue[0].exchange.complete = True
        asked, stood = (self._queue[0] if self._queue else None), self._upstream.stood
        if self._outlet is not None and stood and (asked is None or not asked.begun):
            self._upstream, self._connecting, self._early = Upstream(self), None, []
            if asked is not None:
                self._forward(b"".join(asked.sent))
            return
        if self._outlet is not None:
            (self._outlet.transport.abort if error else self._outlet.transport.close)()
        self._give_up()

    # -- ends

    def cut(self) -> None:
        """End the connection now."""
        if self._outlet is not None:
            self._outlet.abort()

    def _give_up(self) -> None:
        while self._queue:
            self._end(self._queue.popleft().exchange)

    def _end(self, exchange: Exchange) -> None:
        exchange.end_s = time.monotonic()
        self._open.discard(exchange)
        self._done(exchange)
