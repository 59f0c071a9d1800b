"""One answer on its way to a client: takes tokens from a source, writes them, and remembers when."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable

import msgspec

from harness.clock import now_ns
from harness.sim.faults import Fate, Kind
from harness.sim.frames import DONE, GARBAGE, Frames, error_body
from harness.sim.http import Connection, Exchange, head
from harness.sim.metrics import Metrics
from harness.sim.script import Script
from harness.sim.source import Source, Ticket
from harness.sim.truth import Truth
from harness.units import NS_PER_S

_NEVER = 1 << 62


class Setting(msgspec.Struct, frozen=True):
    """What all answers of a server share. A stall lasts `stall_s`; `keep` takes the truth of a request."""

    loop: asyncio.AbstractEventLoop
    source: Source
    metrics: Metrics
    stall_s: float
    role_first: bool
    keep: Callable[[Truth], None] | None


class Answer(Exchange):
    """What streamed and whole answers have in common: the ticket, the accounts, the end."""

    def __init__(
        self,
        *,
        setting: Setting,
        connection: Connection,
        frames: Frames,
        script: Script,
        fate: Fate | None,
        truth: Truth,
    ) -> None:
        self._setting = setting
        self._connection = connection
        self._frames = frames
        self._script = script
        self._fate = fate
        self._strikes = fate.before(script.length) if fate else _NEVER
        self._truth = truth
        self._events: array[int] | None = array("q") if setting.keep else None
        self._ticket: Ticket | None = None
        self._produced = 0
        self._first_ns = 0
        self._last_ns = 0
        self._late_ns = -_NEVER
        self._waited = 0
        self._bytes_out = 0
        self._held: list[tuple[int, int]] | None = None
        self._ended = False

    def start(self, prompt: list[object]) -> None:
        """Queue the request at the source."""
        truth = self._truth
        truth.queued_ns = now_ns()
        self._ticket = self._setting.source.submit(
            self, prompt, max(1, self._script.length), self._script.piece, truth.full_ns
        )

    def abort(self) -> None:
        self._end("abort")

    def tokens(self, count: int, due_ns: int) -> None:
        raise NotImplementedError

    @property
    def _cached(self) -> int:
        return self._ticket.cached_tokens if self._ticket else 0

    def _take(self, count: int, due_ns: int) -> int:
        """Account for `count` tokens that exist now. Returns the time."""
        now = now_ns()
        metrics = self._setting.metrics
        if self._last_ns:
            metrics.itl.observe((now - self._last_ns) / NS_PER_S)
        else:
            self._first_ns = now
            metrics.ttft.observe((now - self._truth.full_ns) / NS_PER_S)
            metrics.prompt_tokens += self._truth.prompt_tokens or 0
        self._last_ns = now
        metrics.generation_tokens += count
        self._late_ns = max(self._late_ns, now - due_ns)
        return now

    def _stall(self, count: int, due_ns: int) -> None:
        """Hold tokens back; what is due meanwhile comes at once when the stall is over."""
        if self._held is None:
            self._held = []
            self._strikes = -1
            self._truth.fault = Kind.STALL.value
            self._setting.loop.call_later(self._setting.stall_s, self._resume)
        self._held.append((count, due_ns))

    def _resume(self) -> None:
        held, self._held = self._held, None
        self._fate = None
        self._strikes = _NEVER
        for count, due_ns in held or ():
            if not self._ended:
                self.tokens(count, due_ns)

    def _end(self, finish: str) -> None:
        """Close the accounts. Safe to call again."""
        if self._ended:
            return
        self._ended = True
        ticket = self._ticket
        if ticket is not None:
            self._setting.source.cancel(ticket)
        self._count(finish)
        if self._setting.keep is None:
            return
        truth = self._truth
        truth.end_ns = now_ns()
        truth.finish = finish
        truth.output_tokens = self._produced
        truth.late_ns = self._late_ns if self._first_ns else None
        truth.waited = self._waited
        truth.bytes_out = self._bytes_out
        truth.event_ns = self._events.tolist() if self._events is not None else []
        if ticket is not None:
            truth.cached_tokens = ticket.cached_tokens if ticket.scheduled_ns is not None else None
            truth.preemptions = ticket.preemptions
            truth.scheduled_ns = ticket.scheduled_ns
            truth.first_token_ns = ticket.first_token_ns
        self._setting.keep(truth)

    def _count(self, finish: str) -> None:
        metrics = self._setting.metrics
        metrics.finished[finish] += 1
        ticket = self._ticket
        if finish in ("abort", "error") or ticket is None or not self._first_ns:
            return
        arrival, first, last = self._truth.full_ns, self._first_ns, self._last_ns
        begun = ticket.scheduled_ns if ticket.scheduled_ns is not None else arrival
        metrics.e2e.observe((last - arrival) / NS_PER_S)
        metrics.queue.observe((begun - arrival) / NS_PER_S)
        metrics.prefill.observe((first - begun) / NS_PER_S)
        metrics.decode.observe((last - first) / NS_PER_S)
        if self._produced > 1:
            metrics.tpot.observe((last - first) / NS_PER_S / (self._produced - 1))


class StreamedAnswer(Answer):
    """Server-sent events, each its own HTTP chunk and its own write."""

    def start(self, prompt: list[object]) -> None:
        self._truth.head_ns = now_ns()
        fields = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
        if self._truth.id:
            fields.append(("x-request-id", self._truth.id))
        fields.append(("transfer-encoding", "chunked"))
        self._write(head(200, fields, keep_alive=self._connection.keep_alive))
        if self._setting.role_first:
            self._role()
        super().start(prompt)

    def tokens(self, count: int, due_ns: int) -> None:
        if self._produced + count > self._strikes and not self._survives(count, due_ns):
            return
        self._take(count, due_ns)
        if self._produced == 0 and not self._setting.role_first:
            self._role()
        script = self._script
        first = self._produced
        runs = script.split(first, count) if first < script.reasoning else ((first, count),)
        for start, many in runs:
            self._produced = start + many
            last = self._produced >= script.length
            self._event(self._frames.tokens(start, many, script.finish if last else None, self._cached))
        if self._produced >= script.length:
            self._conclude(script.finish)

    def _role(self) -> None:
        role = self._frames.role()
        if role is not None:
            self._event(role)

    def _conclude(self, finish: str) -> None:
        if self._frames.wants_usage:
            self._event(self._frames.usage(self._produced, self._cached))
        self._event(DONE, b"0\r\n\r\n")
        self._end(finish)
        self._connection.done()

    def _event(self, data: bytes, end: bytes = b"") -> None:
        if self._events is not None:
            self._events.append(now_ns())
        self._write(b"%x\r\n%b\r\n%b" % (len(data), data, end))

    def _write(self, data: bytes) -> None:
        if self._connection.blocked:
            self._waited += 1
        self._bytes_out += len(data)
        self._connection.write(data)

    def _survives(self, count: int, due_ns: int) -> bool:
        """The fault strikes before these tokens. True where the answer goes on with them now."""
        assert self._fate is not None
        kind = self._fate.kind
        if kind is Kind.STALL:
            self._stall(count, due_ns)
            return False
        self._strikes = _NEVER
        self._truth.fault = kind.value
        if kind is Kind.GARBAGE:
            self._event(GARBAGE)
            return True
        if kind is Kind.EMPTY:
            self._empty()
        elif kind is Kind.MIDSTREAM:
            self._event(self._frames.error("simulated failure in the middle of the answer", 500))
            self._event(DONE, b"0\r\n\r\n")
            self._end("error")
            self._connection.done()
        else:
            self._end("error")
            if kind is Kind.RESET:
                self._connection.reset()
            else:
                self._connection.close()
        return False

    def _empty(self) -> None:
        if not self._setting.role_first:
            self._role()
        self._event(self._frames.nothing("stop"))
        self._conclude("stop")


class WholeAnswer(Answer):
    """One JSON object, when the last token exists."""

    def tokens(self, count: int, due_ns: int) -> None:
        if self._held is not None:
            self._stall(count, due_ns)
            return
        last = self._produced + count >= self._script.length
        if last and self._fate is not None and self._strike(count, due_ns):
            return
        self._take(count, due_ns)
        self._produced += count
        if last:
            self._reply(200, self._frames.whole(self._produced, self._script.finish, self._cached))
            self._finish(self._script.finish)

    def _strike(self, count: int, due_ns: int) -> bool:
        """The fault strikes before the last tokens. True where the answer does not go on now."""
        assert self._fate is not None
        kind = self._fate.kind
        if kind is Kind.STALL:
            self._stall(count, due_ns)
            return True
        self._truth.fault = kind.value
        if kind is Kind.EMPTY:
            self._produced = 0
            self._reply(200, self._frames.whole(0, "stop", self._cached))
            self._finish("stop")
        elif kind is Kind.GARBAGE:
            self._reply(200, b'{"id": "chatcmpl-gar')
            self._finish("error")
        elif kind is Kind.MIDSTREAM:
            self._truth.status = 500
            message = "simulated failure in the middle of the answer"
            self._reply(500, error_body(message, kind="InternalServerError", code=500))
            self._finish("error")
        else:
            self._break(kind)
        return True

    def _break(self, kind: Kind) -> None:
        body = self._frames.whole(self._produced, self._script.finish, self._cached)
        fields = [("content-type", "application/json"), ("content-length", str(len(body)))]
        data = head(200, fields, keep_alive=True) + body[: len(body) // 2]
        self._stamp(data)
        self._connection.write(data)
        self._end("error")
        if kind is Kind.RESET:
            self._connection.reset()
        else:
            self._connection.close()

    def _reply(self, status: int, body: bytes) -> None:
        fields = [("content-type", "application/json"), ("content-length", str(len(body)))]
        if self._truth.id:
            fields.append(("x-request-id", self._truth.id))
        data = head(status, fields, keep_alive=self._connection.keep_alive) + body
        self._stamp(data)
        self._connection.write(data)

    def _stamp(self, data: bytes) -> None:
        now = now_ns()
        self._truth.head_ns = now
        if self._events is not None:
            self._events.append(now)
        self._bytes_out += len(data)

    def _finish(self, finish: str) -> None:
        self._end(finish)
        self._connection.done()
