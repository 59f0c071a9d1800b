"""An answer as one JSON object, when its last token exists."""

from __future__ import annotations

from harness.clock import now_ns
from harness.sim.answer import Answer
from harness.sim.faults import Kind
from harness.sim.frames import error_body
from harness.sim.http import head


class WholeAnswer(Answer):
    """Collects tokens and writes once."""

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
