"""What an answer said, and when: framed bytes and stamps -> events -> output with its time.

Reading is deferred and can be done in slices. It decides whether an answer is a success: an answer without any token,
an error inside an HTTP 200, a stream that broke off, or a damaged event is a failure, each under its own name.
"""

from __future__ import annotations

import re
import zlib
from array import array

import httptools

from harness.backends.protocol import Dialect, Output, Reply
from harness.load.exchange import Exchange
from harness.load.sse import EventStream, EventTooLarge

DETAIL_BYTES = 2048
_BODY_LIMIT = 64 * 1024 * 1024
# How llama.cpp, OpenAI and vLLM say that a prompt and its answer do not fit.
_TOO_LONG = re.compile(rb"exceed_context_size_error|context_length_exceeded|maximum context length|max_model_len")


class Reading:
    """The answer of one exchange, read by a dialect. One instance an exchange."""

    __slots__ = (
        "_decoder",
        "_events",
        "_exchange",
        "_plain",
        "_plain_bytes",
        "_stream_dialect",
        "_streamed",
        "coalesced",
        "first_output_ns",
        "reply",
        "stamps_ns",
    )

    def __init__(self, exchange: Exchange, dialect: Dialect) -> None:
        self._exchange = exchange
        self._decoder = dialect.decoder()
        self._stream_dialect = dialect.stream
        self._events = EventStream()
        self._streamed: bool | None = None  # not known before the headers
        self._plain: list[bytes] = []
        self._plain_bytes = 0
        self.stamps_ns: array[int] = array("q")  # one for each event that carried output
        self.first_output_ns: int | None = None  # first output that is not reasoning
        self.coalesced = 0  # output events that shared a read with a later one
        self.reply: Reply | None = None

    def advance(self, limit: int) -> bool:
        """Read up to `limit` more pieces; True while more are waiting."""
        exchange = self._exchange
        if exchange.http is not None and not exchange.bodies and exchange.cursor < len(exchange.parts):
            if self._read_run(limit):
                return exchange.cursor < len(exchange.parts)
            try:
                exchange.frame(limit)
            except (httptools.HttpParserError, zlib.error) as error:
                exchange.fail("bad_http", str(error))
                exchange.bodies.clear()
                return False
        self._read(limit)
        return bool(exchange.bodies) or exchange.cursor < len(exchange.parts)

    def _read_run(self, limit: int) -> bool:
        """Read many plain events at once; False, and nothing read, where the next ones are not plain."""
        exchange = self._exchange
        if self._streamed is None and exchange.aligned:
            self._streamed = self._is_stream()
        if not self._streamed or (run := exchange.plain_events(limit)) is None:
            return False
        data, stamps = run
        outputs = self._decoder.events(data)
        if self.first_output_ns is None and Output.CONTENT in outputs:
            self.first_output_ns = stamps[outputs.index(Output.CONTENT)]
        if not all(outputs):
            stamps = [stamp for output, stamp in zip(outputs, stamps, strict=True) if output]
        known = self.stamps_ns
        if stamps:
            self.coalesced += len(stamps) - len(set(stamps)) + (known[-1:] == array("q", stamps[:1]))
            known.extend(stamps)
        return True

    def _read(self, limit: int) -> None:
        exchange = self._exchange
        bodies = exchange.bodies
        if not bodies:
            return
        if self._streamed is None:
            self._streamed = self._is_stream()
        count = min(limit, len(bodies))
        if self._streamed:
            try:
                self._read_events(count)
            except EventTooLarge as error:
                exchange.fail("event_too_large", str(error))
                bodies.clear()
                exchange.body_stamps.clear()
                return
        else:
            for piece in bodies[:count]:
                self._plain_bytes += len(piece)
                if self._plain_bytes <= _BODY_LIMIT:
                    self._plain.append(piece)
        del bodies[:count]
        del exchange.body_stamps[:count]

    def _read_events(self, count: int) -> None:
        """The hot part of reading: one pass over `count` pieces."""
        exchange = self._exchange
        feed, event, stamps = self._events.feed, self._decoder.event, self.stamps_ns
        for piece, stamp in zip(exchange.bodies[:count], exchange.body_stamps, strict=False):
            for data in feed(piece):
                output = event(data)
                if output:
                    if stamps and stamps[-1] == stamp:
                        self.coalesced += 1
                    stamps.append(stamp)
                    if self.first_output_ns is None and output == 2:  # Output.CONTENT
                        self.first_output_ns = stamp

    def _is_stream(self) -> bool:
        exchange = self._exchange
        http = exchange.http
        status = http.status if http is not None else exchange.status
        headers = http.headers if http is not None else exchange.headers
        kind = headers.get(b"content-type", b"").lower()
        if status != 200 or not self._stream_dialect:
            return False
        return b"json" not in kind and b"html" not in kind

    def finish(self) -> Reply:
        """Read what is left and judge the answer. Errors are noted in the exchange."""
        while self.advance(1 << 30):
            pass
        exchange = self._exchange
        http = exchange.http
        if http is not None and http.chunked and not http.complete:
            exchange.fail("truncated_stream", "the body has no end")
        status = exchange.status
        plain = b"".join(self._plain)
        if self._streamed is None:
            self._streamed = self._is_stream()  # there was no body at all
        rest = self._events.rest()
        if self._streamed:
            if rest and exchange.error is None and (output := self._decoder.event(rest)):
                self.stamps_ns.append(exchange.end_ns)
                if self.first_output_ns is None and output == 2:
                    self.first_output_ns = exchange.end_ns
        elif status == 200 and exchange.error is None:
            self._decoder.body(plain)
        reply = self.reply = self._decoder.reply()
        if status is not None and status != 200:
            name = "context_exceeded" if status == 400 and _TOO_LONG.search(plain) else f"http_{status}"
            exchange.fail(name, plain[:DETAIL_BYTES].decode("utf-8", "replace"))
        elif exchange.error is None:
            self._judge(reply, rest.decode("utf-8", "replace"))
        if not self._streamed and exchange.error is None:
            self.stamps_ns = array("q", [exchange.end_ns])
        if exchange.http is not None:
            exchange.http.release()
        return reply

    @property
    def streamed(self) -> bool:
        """Whether the answer came as a stream: only then is known when its first token came."""
        return bool(self._streamed)

    def _judge(self, reply: Reply, rest: str) -> None:
        exchange = self._exchange
        said = reply.text or reply.reasoning or reply.tool_calls or self.stamps_ns
        if reply.error is not None:
            exchange.fail("stream_error" if self._streamed else "error_in_answer", reply.error[:DETAIL_BYTES])
        elif reply.garbage and rest.strip().startswith(reply.garbage):
            exchange.fail("truncated_stream", "the stream ended in the middle of an event")
        elif reply.garbage:
            exchange.fail("garbage_event" if self._streamed else "not_json", reply.garbage[:DETAIL_BYTES])
        elif not said:
            exchange.fail("empty_answer", "the answer ended without any generated token")
        elif not reply.complete:
            exchange.fail("truncated_stream", "the stream ended without a finish reason or [DONE]")


__all__ = ["DETAIL_BYTES", "Output", "Reading"]
