"""A wire without a network: requests go to an engine in this process, and its pieces are stamped where they are made.

There is no HTTP, so a record of it has no bytes on a wire and no connection. Stamps are of the user clock, taken in
whichever thread the engine works, so a late loop does not make them late.
"""

from __future__ import annotations

import asyncio

from harness.backends.protocol import EngineFailure, LocalEngine
from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.loop import WireLoop


class EngineWire:
    """See `harness.load.wire.Wire`. `open` loads the engine, once."""

    def __init__(self, engine: LocalEngine) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._loaded = False
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}

    async def open(self, connections: int) -> None:
        """
        Raises:
            TargetError: the engine cannot be loaded.
        """
        if not self._loaded:
            await self._loop.run_in_executor(None, self._engine.load)
            self._loaded = True

    def render(self, exchange: Exchange) -> None:
        exchange.payload = exchange.body

    def send(self, exchange: Exchange) -> None:
        exchange.sent_ns = now_ns()
        exchange.status = 200  # what a server would have said: the answer is read as from one
        self._tasks[exchange] = self._loop.create_task(self._play(exchange))
        if isinstance(self._loop, WireLoop):
            self._loop.wake()

    async def _play(self, exchange: Exchange) -> None:
        bodies, stamps = exchange.bodies, exchange.body_stamps

        def say(piece: bytes) -> None:
            if not exchange.ended:
                stamps.append(now_ns())
                bodies.append(piece)

        try:
            await self._engine.answer(exchange.id, exchange.body, say)
        except asyncio.CancelledError:
            return
        except EngineFailure as failure:
            exchange.fail(failure.name, failure.detail)
        except Exception as error:  # whatever an engine may raise, it is this request that failed
            exchange.fail("engine_error", f"{type(error).__name__}: {error}")
        self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        if exchange.ended:
            return
        exchange.ended = True
        stamps = exchange.body_stamps
        exchange.first_byte_ns = stamps[0] if stamps else None
        exchange.end_ns = stamps[-1] if stamps and not exchange.error else now_ns()
        self._tasks.pop(exchange, None)
        exchange.done(exchange)

    def abort(self, exchange: Exchange, error: str, detail: str | None = None) -> None:
        task = self._tasks.get(exchange)
        if task is not None:
            task.cancel()
        exchange.fail(error, detail)
        self._finish(exchange)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.run_in_executor(None, self._engine.close)
