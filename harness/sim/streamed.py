"""An answer as server-sent events, each its own HTTP chunk and its own write."""

from __future__ import annotations

from harness.clock import now_ns
from harness.sim.answer import NEVER, Answer
from harness.sim.faults import Kind
from harness.sim.frames import DONE, GARBAGE
from harness.sim.http import head


class StreamedAnswer(Answer):
    """Writes each event when its tokens exist."""

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
        self._strikes = NEVER
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
