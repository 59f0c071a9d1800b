"""One request and its answer on the wire: bytes out, stamped bytes in, and how it ended.

While an answer arrives, its bytes and their stamps are only kept. Framing and parsing come later: when it has ended,
or in slices while the loop is idle, so that nothing slow stands between two reads of other streams.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable
from typing import Any

import httptools

from harness.load.runs import plain_events

_HEAD_END = b"\r\n\r\n"
_PLAIN_HEAD = b"HTTP/1.1 200"
_WORTH_BYTES = 2048  # a shorter answer is parsed faster than it is looked at
_LET_GO = 32  # reads at once
_EVENT_BYTES = 256  # of a token, about: to tell how many reads a slice of work is


class Http1Response:
    """Incremental HTTP/1.1 framing of one response: status, headers, and the pieces of its body.

    Raises httptools.HttpParserError from `feed` where the bytes are no HTTP.
    """

    __slots__ = (
        "_parser",
        "chunked",
        "complete",
        "events",
        "headers",
        "keep_alive",
        "length",
        "pieces",
        "ready",
        "status",
    )

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.ready = False  # headers are complete
        self.complete = False
        self.keep_alive = False
        self.events = False  # the body is a stream of events
        self.chunked = False
        self.length: int | None = None
        self.pieces: list[bytes] = []  # body pieces of the part fed last

    def feed(self, part: bytes) -> list[bytes]:
        """The body pieces in this part."""
        self.pieces = []
        self._parser.feed_data(part)
        return self.pieces

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()  # an interim response: the real one follows
            return
        self.ready = True
        self.keep_alive = bool(self._parser.should_keep_alive())  # the parser forgets it with the message
        self.events = b"event-stream" in self.content_type()
        self.chunked = b"chunked" in self.headers.get(b"transfer-encoding", b"").lower()
        length = self.headers.get(b"content-length")
        self.length = int(length) if length is not None and length.isdigit() else None

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.complete = self.ready

    def release(self) -> None:
        """Let go of the parser, which holds on to us: no cycles while the collector is off."""
        self._parser = None

    @property
    def until_close(self) -> bool:
        """The body ends when the connection does (HTTP/1.0 style)."""
        return self.ready and not self.chunked and self.length is None and self.status not in (204, 304)

    def content_type(self) -> bytes:
        return self.headers.get(b"content-type", b"").lower()


class Exchange:
    """A request under way. Made by the walker, played by a wire, read by a `Reading`.

    All stamps are nanoseconds of the monotonic clock. `error` is None as long as nothing went wrong on the wire.
    """

    __slots__ = (
        "aligned",
        "bodies",
        "body",
        "body_stamps",
        "bytes_framed",
        "bytes_out",
        "connect_ns",
        "connected_ns",
        "connection",
        "cursor",
        "deadline_ns",
        "detail",
        "done",
        "end_ns",
        "ended",
        "error",
        "first_byte_ns",
        "headers",
        "http",
        "id",
        "kernel",
        "owner",
        "parts",
        "path",
        "payload",
        "progress",
        "sent_ns",
        "stamps",
        "status",
        "unzip",
    )

    def __init__(self, request_id: str, path: str, body: bytes, done: Callable[[Exchange], None]) -> None:
        self.id = request_id
        self.path = path
        self.body = body
        self.done = done
        self.payload = b""  # head and body as they go on the wire
        self.connection: object | None = None
        self.owner: Any = None  # what it stands for: the player's business
        self.progress: Callable[[Exchange], None] | None = None  # told when many reads wait to be parsed
        self.sent_ns = 0
        self.connected_ns: int | None = None
        self.connect_ns: int | None = None
        self.first_byte_ns: int | None = None
        self.end_ns = 0
        self.deadline_ns = 0
        self.ended = False
        self.error: str | None = None
        self.detail: str | None = None
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.bytes_framed = 0  # of what came in
        self.bytes_out = 0
        self.kernel = False
        self.http: Http1Response | None = None
        self.parts: list[bytes] = []  # as read from the socket
        self.stamps: array[int] = array("q")  # of each
        self.aligned = False  # the part at the cursor begins a chunk, and no chunk before it was parsed
        self.cursor = 0  # parts before it have been through the HTTP framing
        self.bodies: list[bytes] = []  # body pieces not yet read by the dialect
        self.body_stamps: list[int] = []
        self.unzip: Callable[[bytes], bytes] | None = None

    @property
    def heard(self) -> bool:
        """Whether anything has come in."""
        return bool(self.parts or self.bytes_framed)

    @property
    def bytes_in(self) -> int:
        """All that came in, framed or not."""
        return self.bytes_framed + sum(map(len, self.parts[self.cursor :]))

    def frame_head(self) -> None:
        """Read the head, once it is there. What came with it stays unread.

        Raises:
            httptools.HttpParserError: the bytes are no HTTP.
        """
        http = self.http
        assert http is not None
        while not http.ready and self.cursor < len(self.parts):
            part = self.parts[self.cursor]
            end = part.find(_HEAD_END) + len(_HEAD_END)
            if end < len(_HEAD_END) or not part.startswith(_PLAIN_HEAD):
                self.frame(1)
                continue
            http.feed(part[:end])
            self.bytes_framed += end
            self.parts[self.cursor] = part[end:]
            if end == len(part):
                self.cursor += 1
            self.aligned = http.chunked and b"content-encoding" not in http.headers

    def frame(self, limit: int = 1 << 60) -> None:
        """Put up to `limit` more reads through the HTTP framing.

        Raises:
            httptools.HttpParserError: the bytes are no HTTP.
            zlib.error: a compressed body is damaged.
        """
        http = self.http
        assert http is not None
        self.aligned = False
        parts, stamps = self.parts, self.stamps
        for index in range(self.cursor, min(len(parts), self.cursor + limit)):
            for piece in http.feed(parts[index]):
                if self.unzip is not None or b"content-encoding" in http.headers:
                    piece = self._plain(http, piece)  # noqa: PLW2901
                self.bodies.append(piece)
                self.body_stamps.append(stamps[index])
            self.bytes_framed += len(parts[index])
            parts[index] = b""
            self.cursor = index + 1
        self._forget()

    def plain_events(self, limit: int) -> tuple[list[bytes], list[int]] | None:
        """The data and the stamps of about `limit` further events, taken without parsing; None where that can't be.

        Only while the stream is known to be between two chunks, and nothing framed waits.
        """
        if not self.aligned or self.bodies:
            return None
        begin, stamps = self.cursor, self.stamps
        waiting = list(map(len, self.parts[begin : begin + 4 * limit]))
        size = sum(waiting)
        if self.bytes_framed + size < _WORTH_BYTES:
            return None
        run = plain_events(self.parts[begin : begin + max(1, limit * _EVENT_BYTES * len(waiting) // (size + 1))])
        if run is None:
            return None
        self.bytes_framed += sum(waiting[: run.used])
        self.cursor += run.used
        if run.left:
            self.bytes_framed += len(self.parts[self.cursor]) - len(run.left)
            self.parts[self.cursor] = run.left
        ended = [stamps[begin + read] for read in run.ended_by]
        self._forget()
        return run.data, ended

    def _forget(self) -> None:
        """Let go of reads that have been framed."""
        if self.cursor >= _LET_GO:
            del self.parts[: self.cursor]
            del self.stamps[: self.cursor]
            self.cursor = 0

    def _plain(self, http: Http1Response, piece: bytes) -> bytes:
        """The piece decompressed, where the server compresses although we did not ask for it."""
        if self.unzip is None:
            coding = http.headers[b"content-encoding"].strip().lower()
            if coding in (b"gzip", b"deflate"):
                self.unzip = zlib.decompressobj(wbits=47).decompress
            else:
                self.unzip = bytes
        return self.unzip(piece)

    def fail(self, error: str, detail: str | None = None) -> None:
        """Note what went wrong, the first time."""
        if self.error is None:
            self.error = error
            self.detail = detail
