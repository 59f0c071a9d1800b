"""The wire to an engine in our own process keeps the promises of every wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from harness.backends.protocol import EngineFailure
from harness.clock import now_ns
from harness.errors import TargetError
from harness.load.engine_wire import EngineWire
from harness.load.exchange import Exchange
from harness.load.loop import run

Say = Callable[[bytes], None]


class Engine:
    """Says what the body asks for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def load(self) -> None:
        self.seen.append(("load", threading.current_thread() is not threading.main_thread()))

    async def answer(self, request_id: str, body: bytes, say: Say) -> None:
        self.seen.append((request_id, body))
        if body == b"fail":
            say(b"half")
            raise EngineFailure("context_exceeded", "too long")
        if body == b"crash":
            raise KeyError("inside")
        if body == b"wait":
            try:
                await asyncio.sleep(3600)
            finally:
                self.seen.append("cancelled")
        await asyncio.get_running_loop().run_in_executor(None, lambda: [say(b"a"), say(b"b")])

    def close(self) -> None:
        self.seen.append("closed")


def play(*bodies: bytes, then: Callable[[EngineWire, list[Exchange]], None] = lambda *_: None) -> tuple[Any, Any]:
    async def main() -> tuple[Engine, list[Exchange]]:
        engine, ended = Engine(), asyncio.Semaphore(0)
        wire = EngineWire(engine)
        await wire.open(4)
        await wire.open(4)
        exchanges = [
            Exchange(f"id-{number}", "/chat/completions", body, lambda _: ended.release())
            for number, body in enumerate(bodies)
        ]
        for exchange in exchanges:
            wire.render(exchange)
            wire.send(exchange)
        await asyncio.sleep(0.01)
        then(wire, exchanges)
        for _ in bodies:
            await ended.acquire()
        assert ended.locked()  # each ended once
        await wire.close()
        return engine, exchanges

    found: tuple[Engine, list[Exchange]] = run(main())
    return found


def test_pieces_are_stamped_where_they_are_made() -> None:
    before = now_ns()
    engine, (one, two) = play(b"x", b"y")
    assert engine.seen[0] == ("load", True) and engine.seen.count(("load", True)) == 1
    assert engine.seen[-1] == "closed"
    assert ("id-0", b"x") in engine.seen
    for exchange in (one, two):
        assert exchange.bodies == [b"a", b"b"] and exchange.error is None
        stamps = exchange.body_stamps
        assert before <= exchange.sent_ns <= stamps[0] <= stamps[1] == exchange.end_ns
        assert exchange.first_byte_ns == stamps[0]
        assert (exchange.kernel, exchange.bytes_in, exchange.bytes_out, exchange.connect_ns) == (False, 0, 0, None)


def test_failures_have_their_names() -> None:
    _, (failed, crashed) = play(b"fail", b"crash")
    assert (failed.error, failed.detail, failed.bodies) == ("context_exceeded", "too long", [b"half"])
    assert (crashed.error, crashed.detail) == ("engine_error", "KeyError: 'inside'")


def test_an_abort_stops_the_engine_and_ends_once() -> None:
    def stop(wire: EngineWire, exchanges: list[Exchange]) -> None:
        wire.abort(exchanges[0], "timeout", "too slow")
        wire.abort(exchanges[0], "interrupted")

    engine, (exchange,) = play(b"wait", then=stop)
    assert (exchange.error, exchange.detail) == ("timeout", "too slow")
    assert "cancelled" in engine.seen


def test_an_engine_that_cannot_be_loaded() -> None:
    class Broken(Engine):
        def load(self) -> None:
            raise TargetError("no such model")

    async def main() -> None:
        await EngineWire(Broken()).open(0)

    with pytest.raises(TargetError, match="no such model"):
        run(main())
