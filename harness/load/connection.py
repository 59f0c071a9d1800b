"""One TCP connection of the harness wire. The hot path of the whole tool: `_readable` runs once a read.

Per read it does three things: receive, stamp, keep. Only a read that may be the last of its answer (every chunked
message ends with CRLF CRLF; a shorter read may be the end of that), or one of an answer that is not chunked, is
looked at any closer.
"""

from __future__ import annotations

import errno
import os
import socket
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools

from harness.clock import now_ns
from harness.load import kernelclock
from harness.load.exchange import Exchange, Http1Response
from harness.load.keeper import CHUNK_END, PILE, READ_BYTES, Usual, keeper
from harness.load.kernelclock import ANCILLARY_BYTES, unpack
from harness.load.loop import READ, WRITE

if TYPE_CHECKING:
    from harness.load.harness_wire import HarnessWire

_NAMES = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ETIMEDOUT: "connect_timeout",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.ENETUNREACH: "host_unreachable",
    errno.EMFILE: "too_many_open_files",
    errno.EADDRNOTAVAIL: "no_free_port",
}


def error_name(error: OSError) -> str:
    """Our name for a socket error."""
    return _NAMES.get(error.errno or 0, "connection_error")


def _ends(data: bytes) -> bool:
    """Whether a read is the end of a stream of events, in which no line is a bare "0": the last chunk."""
    return data[-7:] == b"\r\n0\r\n\r\n" or data == b"0\r\n\r\n"


class Connection:
    """A connection and the exchange it carries, if any. Never shared by two exchanges at a time."""

    __slots__ = (
        "_clock",
        "_fd",
        "_pending",
        "_recvmsg",
        "_sock",
        "_started_ns",
        "_wire",
        "connect_ns",
        "connected_ns",
        "exchange",
        "open",
    )

    def __init__(self, wire: HarnessWire) -> None:
        self._wire = wire
        self._clock = wire.kernel_clock
        self._pending = b""
        self.exchange: Exchange | None = None
        self.open = False
        self.connected_ns = 0
        self.connect_ns = 0
        family, address = wire.address
        self._started_ns = now_ns()
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._recvmsg = self._sock.recvmsg
        self._fd = self._sock.fileno()
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._clock is not None and not kernelclock.enable(self._sock):
            self._clock = None
        code = self._sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._sock.close()
            raise OSError(code, os.strerror(code))
        wire.loop.add_hot(self._fd, self._connecting, WRITE)

    # -- connecting

    def _connecting(self, _mask: int) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.lost(error_name(OSError(code, "")), os.strerror(code))
            return
        try:
            self._sock.getpeername()
        except OSError:  # not yet: that was for the connection that had this descriptor before
            self._wire.loop.change_hot(self._fd, WRITE)
            return
        self._listen(self._readable)
        self._established()

    def _listen(self, handler: Callable[[int], None]) -> None:
        """From now on `handler` is told when there is something to read."""
        self._wire.loop.remove_hot(self._fd)
        self._wire.loop.add_hot(self._fd, handler, READ)

    def _established(self) -> None:
        """Ready for requests: TCP, and TLS where it is spoken."""
        self.connected_ns = now_ns()
        self.connect_ns = self.connected_ns - self._started_ns
        self.open = True
        exchange = self.exchange
        if exchange is None:
            self._wire.connected(self)
            return
        exchange.connected_ns = self.connected_ns
        exchange.connect_ns = self.connect_ns
        self.write(exchange.payload)

    # -- sending

    def carry(self, exchange: Exchange) -> None:
        """Send this exchange, at once or as soon as the connection stands."""
        self.exchange = exchange
        exchange.connection = self
        exchange.http = Http1Response()
        exchange.kernel = self._clock is not None
        if self.open:
            self.write(exchange.payload)

    def write(self, data: bytes) -> None:
        """Send bytes; what the socket does not take now follows when it can."""
        if self.exchange is not None:
            self.exchange.bytes_out += len(data)
        if self._pending:
            self._pending += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.lost(error_name(error), error.strerror)
            return
        if sent < len(data):
            self._pending = data[sent:]
            self._wire.loop.change_hot(self._fd, READ | WRITE)

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._pending)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error_name(error), error.strerror)
            return
        self._pending = self._pending[sent:]
        if not self._pending:
            self._wire.loop.change_hot(self._fd, READ)

    # -- receiving

    def _readable(self, mask: int) -> None:
        if mask & WRITE and self._pending:
            self._writable()
            if self._fd < 0:
                return
        try:
            if self._clock is None:
                data, ancillary = self._sock.recv(READ_BYTES), None
            else:
                data, ancillary, _, _ = self._recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except OSError as error:
            self._unread(error)
        else:
            self._arrived(mask, data, ancillary)

    def _arrived(self, mask: int, data: bytes, ancillary: list[Any] | None) -> None:
        stamp = now_ns()
        if ancillary:
            seconds, nanoseconds = unpack(ancillary[0][2])
            stamp = seconds * 1_000_000_000 + nanoseconds - self._clock.offset_ns  # type: ignore[union-attr]
        self.received(data, stamp)
        if (mask != READ or len(data) == READ_BYTES) and self._fd >= 0:  # there may be more, or the other side's end
            self._wire.loop.change_hot(self._fd, READ | WRITE if self._pending else READ)

    def _unread(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self.lost(error_name(error), error.strerror)

    def received(self, data: bytes, stamp: int) -> None:
        """Take what came in; `b""` is the other side's end."""
        exchange = self.exchange
        if exchange is None or not data:
            self._ended(exchange, stamp)
            return
        exchange.parts.append(data)
        exchange.stamps.append(stamp)
        http = exchange.http
        if http is not None and http.chunked and len(data) > 3:
            if data[-4:] != CHUNK_END:
                if len(exchange.parts) == PILE and exchange.progress is not None:
                    exchange.progress(exchange)
                return
            if http.events and _ends(data):
                self._finish(exchange, stamp, reusable=http.keep_alive)
                return
        self._look(exchange, stamp)

    def _look(self, exchange: Exchange, stamp: int) -> None:
        """Frame what has come so far; finish the exchange if that was all."""
        if exchange.first_byte_ns is None:
            exchange.first_byte_ns = stamp
        if self._clock is not None:
            self._clock.delays_ns.append(now_ns() - stamp)
        http = exchange.http
        assert http is not None
        try:
            if not http.ready:
                exchange.frame_head()
                if exchange.aligned and http.events:  # a stream that begins as it should: its events can wait
                    body = exchange.parts[-1]
                    self._stream(exchange)
                    if _ends(body):
                        self._finish(exchange, stamp, reusable=http.keep_alive)
                        return
                    if not body or (len(body) > 3 and body[-4:] != CHUNK_END):
                        return
            exchange.frame()
        except (httptools.HttpParserError, zlib.error) as error:
            self.lost("bad_http", f"{type(error).__name__}: {error}")
            return
        if http.complete:
            self._finish(exchange, stamp, reusable=http.keep_alive)

    def _ended(self, exchange: Exchange | None, stamp: int) -> None:
        """The other side has closed, or sent something that nobody asked for."""
        if exchange is None:
            self.lost("connection_closed")
            return
        http = exchange.http
        if http is not None and http.until_close:
            self._finish(exchange, stamp, reusable=False)
        elif not exchange.heard:
            self.lost("connection_closed", "closed before any answer")
        else:
            self.lost("truncated_stream", "the connection was closed in the middle of the answer")

    def _stream(self, exchange: Exchange) -> None:
        """Events follow: from now on they are only kept."""
        if self._clock is not None:
            usual = Usual(self._readable, self._arrived, self._unread)
            self._wire.loop.hand_hot(self._fd, keeper(exchange, self._recvmsg, self._clock, usual))

    def _finish(self, exchange: Exchange, stamp: int, *, reusable: bool) -> None:
        self.exchange = None
        self._wire.loop.hand_hot(self._fd, self._readable)
        if reusable and self._wire.reuse and not self._pending:
            self._wire.idle.append(self)
        else:
            self.close()
        self._wire.finish(exchange, stamp)

    # -- ending

    def lost(self, error: str, detail: str | None = None) -> None:
        """The connection is gone. An untouched request on a connection that stood before it is sent again."""
        exchange = self.exchange
        self.exchange = None
        stale = exchange is not None and not exchange.heard and 0 < self.connected_ns < exchange.sent_ns
        self.close()
        if exchange is None:
            self._wire.dropped(self)
        elif stale and error in ("connection_reset", "connection_closed"):
            self._wire.resend(exchange)
        else:
            exchange.fail(error, detail)
            self._wire.finish(exchange, now_ns())

    def close(self) -> None:
        self.open = False
        if self._fd >= 0:
            self._wire.loop.remove_hot(self._fd)
            self._sock.close()
            self._fd = -1
