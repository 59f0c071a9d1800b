"""A small HTTP/1.1 server side: one protocol object a connection, keep-alive, chunked bodies both ways."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from itertools import count
from typing import Any

import httptools

from harness import __version__
from harness.clock import now_ns

MAX_BODY = 64 * 1024 * 1024
SERVER = f"harness-sim/{__version__}"

_NOT_HTTP = (400, b'{"error":{"message":"not HTTP/1.1","type":"BadRequestError","code":400}}')
_TOO_LARGE = (413, b'{"error":{"message":"the body is too large","type":"BadRequestError","code":413}}')


class Request:
    """One request, read in full. Times are CLOCK_MONOTONIC."""

    __slots__ = ("body", "bytes_in", "first_byte_ns", "full_ns", "id", "keep_alive", "method", "path")

    def __init__(self, first_byte_ns: int) -> None:
        self.first_byte_ns = first_byte_ns
        self.full_ns = 0
        self.method = ""
        self.path = ""
        self.id: str | None = None
        self.body = b""
        self.bytes_in = 0
        self.keep_alive = True


class Exchange:
    """Whoever answers the request under way. Told when the client goes away."""

    def abort(self) -> None:
        """The connection is lost; nothing can be written any more."""


def head(status: int, headers: list[tuple[str, str]], *, keep_alive: bool) -> bytes:
    """A response head."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in _KNOWN else 'Status'}"]
    lines.append(f"server: {SERVER}")
    lines += [f"{name}: {value}" for name, value in headers]
    if not keep_alive:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


_KNOWN = {status.value for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """Reads requests, hands each to `handle`, and takes the next when the answer has ended.

    Every `write` goes to the kernel at once unless the client has not read what came before; `blocked` tells
    so.
    """

    _numbers = count(1)

    def __init__(
        self,
        handle: Callable[[Connection, Request], None],
        connections: set[Connection],
        slow_accept: float = 0.0,
    ) -> None:
        self._handle = handle
        self._connections = connections
        self._slow_accept = slow_accept
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._reading: Request | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._got = 0
        self._read_ns = 0
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self.number = next(self._numbers)
        self.accept_ns = 0
        self.blocked = False
        self.exchange: Exchange | None = None
        self.write: Callable[[bytes], None] = lambda data: None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self.write = transport.write
        self.accept_ns = now_ns()
        transport.set_write_buffer_limits(high=0)
        if self._slow_accept:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(self._slow_accept, self._accept)

    def _accept(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.accept_ns = now_ns()
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self.write = lambda data: None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abort()
        self._transport = None
        self._waiting.clear()
        self._parser = None  # it refers back to this object

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False

    def data_received(self, data: bytes) -> None:
        self._read_ns = now_ns()
        self._got += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._current is None:
                self.reply(*(_TOO_LARGE if self._size > MAX_BODY else _NOT_HTTP))
            self.close()

    # httptools

    def on_message_begin(self) -> None:
        self._reading = Request(self._read_ns)

    def on_url(self, url: bytes) -> None:
        if self._reading is not None:
            self._reading.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is None:
            return
        lowered = name.lower()
        if lowered == b"x-request-id":
            self._reading.id = value.decode("latin-1")
        elif lowered == b"expect" and value.lower() == b"100-continue" and self._current is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_BODY:
            raise ValueError("body too large")
        self._parts.append(part)

    def on_message_complete(self) -> None:
        request, self._reading = self._reading, None
        if request is None:
            return
        request.full_ns = self._read_ns
        request.bytes_in, self._got = self._got, 0
        request.method = self._parser.get_method().decode("latin-1")
        request.path = request.path.partition("?")[0]
        request.keep_alive = self._parser.should_keep_alive()
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._size = 0
        if self._current is None:
            self._take(request)
        else:
            self._waiting.append(request)

    # for whoever answers

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the answer under way."""
        return self._current is not None and self._current.keep_alive

    def reply(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: list[tuple[str, str]] | None = None,
    ) -> int:
        """Answer the request under way in one write and take the next. Returns the bytes written."""
        fields = [("content-type", content_type), ("content-length", str(len(body))), *(headers or ())]
        data = head(status, fields, keep_alive=self.keep_alive) + body
        self.write(data)
        self.done()
        return len(data)

    def done(self) -> None:
        """The answer under way is over: take the next request, or close where the client wants that."""
        keep = self.keep_alive
        self._current = None
        self.exchange = None
        if not keep:
            self.close()
        elif self._waiting:
            self._take(self._waiting.popleft())

    def close(self) -> None:
        """Close in order, after what is written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP RST; what was not sent is lost."""
        if self._transport is not None:
            raw: socket.socket = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def cut(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, request: Request) -> None:
        self._current = request
        self._handle(self, request)
