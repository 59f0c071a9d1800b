"""The connection to the target: its answers, head by head, and where each of them ends.

What comes goes to the client first. Only as much of it is looked at as is needed to know where an answer ends.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import httptools

from harness.proxy.exchange import Exchange
from harness.proxy.heads import Head
from harness.proxy.sending import Outlet

_LARGEST_HEAD = 256 * 1024
_LAST = b"\r\n0\r\n\r\n"


class Downstream(Protocol):
    """Whom answers are for."""

    @property
    def current(self) -> Exchange | None: ...
    def connected(self) -> None: ...
    def to_client(self, data: bytes) -> None: ...
    def begun(self) -> None: ...
    def answered(self) -> None: ...
    def lost(self, error: Exception | None, *, whole: bool) -> None: ...
    def hold(self, full: bool) -> None: ...


class Upstream(asyncio.Protocol):
    """One connection. It is also what its parser of answers calls."""

    def __init__(self, client: Downstream) -> None:
        self._client = client
        self.outlet: Outlet | None = None
        self.stood = False  # it was there before the request that it carries
        self._head = b""
        self._in_body = False
        self._left: int | None = None  # of the body, where its length is known
        self._events = False
        self._until_close = False
        self._parser: Any = None  # of a chunked body
        self._unparsed: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.outlet = Outlet(transport)
        self._client.connected()

    def connection_lost(self, error: Exception | None) -> None:
        self.outlet = None
        if self._head:
            self._raw(self._head)
        self._client.lost(error, whole=self._until_close and self._in_body and error is None)

    def pause_writing(self) -> None:
        self._client.hold(True)

    def resume_writing(self) -> None:
        self._client.hold(False)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._beginning(data)
            return
        self._client.to_client(data)  # first of all
        exchange = self._client.current
        if exchange is not None and exchange.wanted:
            exchange.answer.append(data)
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._end()
        elif not self._until_close:
            self._unparsed.append(data)
            if data[-7:] == _LAST and self._events:  # no line of events is a bare "0"
                self._end()
            elif data[-4:] == b"\r\n\r\n" or len(data) < 4:
                self._parse()

    def _beginning(self, data: bytes) -> None:
        """A head, or some of it."""
        head = self._head + data
        end = head.find(b"\r\n\r\n") + 4
        strange = not (head[:5] == b"HTTP/" or b"HTTP/".startswith(head[:5])) or self._client.current is None
        if end < 4 and len(head) < _LARGEST_HEAD and not strange:
            self._head = head
            return
        self._head = b""
        try:
            if end < 4 or strange:
                raise ValueError("no head")
            parsed = Head(head[:end])
        except ValueError:
            self._raw(head)
            return
        if parsed.status < 200:  # an interim answer; the real one follows
            self._client.to_client(parsed.encoded())
            if head[end:]:
                self._beginning(head[end:])
            return
        self._client.to_client(parsed.encoded() + head[end:])
        self._frame(parsed, head[:end], head[end:])

    def _raw(self, data: bytes) -> None:
        """Not ours to judge: it goes through as it is, until the connection ends."""
        self._in_body = self._until_close = True
        if self._client.current is not None:
            self._client.begun()
        self._client.to_client(data)

    def _frame(self, head: Head, raw: bytes, rest: bytes) -> None:
        """Find out how the body ends; its beginning is `rest`."""
        exchange = self._client.current
        assert exchange is not None
        self._client.begun()
        if exchange.wanted:
            exchange.answer += [raw, rest] if rest else [raw]
        self._in_body, self._until_close, self._left = True, False, None
        if exchange.method == b"HEAD" or head.status in (204, 304):
            self._end()
            return
        if b"chunked" in head.values(b"transfer-encoding"):
            self._events = b"event-stream" in head.values(b"content-type")
            self._parser = httptools.HttpResponseParser(self)
            self._unparsed = [raw, rest] if rest else [raw]
            if rest.endswith(b"\r\n\r\n"):
                self._parse()
            return
        length = head.values(b"content-length")
        if length.isdigit():
            self._left = int(length) - len(rest)
            if self._left <= 0:
                self._end()
        else:
            self._until_close = True

    def _parse(self) -> None:
        """Put what has come through the parser: it tells whether that was all."""
        data, self._unparsed = b"".join(self._unparsed), []
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._until_close = True  # bytes that nobody understands end with the connection

    def on_message_complete(self) -> None:
        self._end()

    def _end(self) -> None:
        self._in_body, self._until_close, self._parser, self._unparsed = False, False, None, []
        self.stood = True
        self._client.answered()
