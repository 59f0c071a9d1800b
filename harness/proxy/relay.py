"""The forwarding path: each client connection has one upstream connection, and bytes go through as they come.

Only the request's head is written anew: Host is the target's. Answers go through raw, framing included. What is needed
for the trace is kept in lists of bytes and handed over when the answer has ended.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from harness.errors import UsageError

_DROPPED = {b"host", b"proxy-connection", b"proxy-authorization", b"trailer", b"transfer-encoding"}


class Target:
    """Where requests go. Raises UsageError where `url` is no http(s) URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--target {url!r} is no URL", remedy="give one such as http://127.0.0.1:8000/v1")
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(f"--target: {error}") from None
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname
        self.port = port or (443 if self.tls else 80)
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc.rpartition("@")[2].encode("latin-1")


class Exchange:
    """One request and its answer, as bytes. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.start_s = time.monotonic()
        self.end_s = 0.0
        self.method = b""
        self.url = b""
        self.session: str | None = None
        self.request_encoding = b""
        self.request: list[bytes] = []
        self.sent: list[bytes] = []  # as it went to the target, until the answer begins
        self.status = 0
        self.encoding = b""
        self.streamed = False
        self.answer: list[bytes] = []
        self.complete = False

    @property
    def wanted(self) -> bool:
        """Whether it is a model call."""
        path = self.url.partition(b"?")[0]
        return self.method == b"POST" and path.endswith((b"/completions", b"/messages"))


class Upstream(asyncio.Protocol):
    """The connection to the target. It also is what its parser of answers calls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._parser: Any = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.served = False  # it has brought an answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._client.connected(self.transport)

    def data_received(self, data: bytes) -> None:
        self._client.to_client(data)  # first of all: what follows is for the trace
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._client.lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._client.lost(error)

    def pause_writing(self) -> None:
        self._client.hold(True)

    def resume_writing(self) -> None:
        self._client.hold(False)

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._client.current
        lower = name.lower()
        if exchange is not None and lower == b"content-encoding":
            exchange.encoding = value.strip().lower()
        elif exchange is not None and lower == b"content-type":
            exchange.streamed = value.lower().startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        exchange = self._client.current
        if exchange is None:
            return
        exchange.status = self._parser.get_status_code()
        exchange.sent.clear()
        if exchange.method == b"HEAD" and exchange.status >= 200:
            self._parser = httptools.HttpResponseParser(self)  # no body comes, whatever the head says
            self._client.answered()

    def on_body(self, data: bytes) -> None:
        exchange = self._client.current
        if exchange is not None and exchange.wanted:
            exchange.answer.append(data)

    def on_message_complete(self) -> None:
        exchange = self._client.current
        if exchange is not None and exchange.status >= 200:
            self.served = True
            self._client.answered()


class Client(asyncio.Protocol):
    """The connection of a client. `done` is told of each exchange that has ended, `open_` holds those under way."""

    def __init__(
        self, target: Target, header: bytes, open_: set[Exchange], done: Callable[[Exchange], None], all_: set[Client]
    ) -> None:
        self._target, self._header, self._open, self._done, self._all = target, header, open_, done, all_
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._upstream = Upstream(self)
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._queue: deque[Exchange] = deque()
        self._reading = Exchange()
        self._lines: list[bytes] = []
        self._chunked = False

    @property
    def current(self) -> Exchange | None:
        """The exchange whose answer comes next."""
        return self._queue[0] if self._queue else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "the request is not HTTP/1.1")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._all.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream.transport is not None:
            self._upstream.transport.abort()
        self._give_up()

    def pause_writing(self) -> None:
        if self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream.transport is not None:
            self._upstream.transport.resume_reading()

    def on_message_begin(self) -> None:
        self._reading = Exchange()
        self._lines = []
        self._chunked = False

    def on_url(self, url: bytes) -> None:
        self._reading.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"transfer-encoding":
            self._chunked = True
        if lower == self._header:
            self._reading.session = value.decode("latin-1")
        elif lower == b"content-encoding":
            self._reading.request_encoding = value.strip().lower()
        if lower not in _DROPPED:
            self._lines.append(name + b": " + value)

    def on_headers_complete(self) -> None:
        exchange = self._reading
        exchange.method = self._parser.get_method()
        version = self._parser.get_http_version().encode()
        head = [exchange.method + b" " + exchange.url + b" HTTP/" + version, b"Host: " + self._target.authority]
        head += self._lines
        if self._chunked:
            head.append(b"Transfer-Encoding: chunked")
        self._queue.append(exchange)
        self._open.add(exchange)
        self._send(b"\r\n".join(head) + b"\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._reading.wanted:
            self._reading.request.append(data)
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def on_message_complete(self) -> None:
        if self._chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        self._reading.sent.append(data)
        self._forward(data)

    def _forward(self, data: bytes) -> None:
        if self._upstream.transport is not None:
            self._upstream.transport.write(data)
            return
        self._early.append(data)
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        target, loop = self._target, asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._upstream, target.host, target.port, ssl=target.tls)
        except OSError as error:
            self._refuse(502, f"{target.host}:{target.port} cannot be reached: {error}")

    def connected(self, transport: asyncio.Transport) -> None:
        """What came before there was a connection goes first, ahead of anything read from now on."""
        early, self._early = self._early, []
        transport.write(b"".join(early))

    def _refuse(self, status: int, message: str) -> None:
        if self._transport is not None:
            body = msgspec.json.encode({"error": {"message": f"harness record: {message}", "code": status}})
            phrase = {400: b"Bad Request", 502: b"Bad Gateway"}[status]
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            )
            self._transport.write(head % (status, phrase, len(body)) + body)
            self._transport.close()
        self._give_up()

    def to_client(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def hold(self, full: bool) -> None:
        """The target does not keep up: read no more of the request, or go on."""
        if self._transport is not None:
            with suppress(RuntimeError):
                (self._transport.pause_reading if full else self._transport.resume_reading)()

    def answered(self) -> None:
        exchange = self._queue.popleft()
        exchange.complete = True
        self._end(exchange)

    def lost(self, error: Exception | None) -> None:
        """The target has closed: so do we, in its way; but not between two answers, since many servers close a
        connection that they said they would keep. The next request, or one that just missed it, gets a new one."""
        exchange, served = self.current, self._upstream.served
        if self._transport is not None and served and (exchange is None or (exchange.sent and len(self._queue) == 1)):
            self._upstream, self._connecting, self._early = Upstream(self), None, []
            if exchange is not None:
                self._forward(b"".join(exchange.sent))
            return
        if self._transport is not None:
            (self._transport.abort if error else self._transport.close)()
        self._give_up()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self) -> None:
        while self._queue:
            self._end(self._queue.popleft())

    def _end(self, exchange: Exchange) -> None:
        exchange.end_s = time.monotonic()
        self._open.discard(exchange)
        self._done(exchange)
