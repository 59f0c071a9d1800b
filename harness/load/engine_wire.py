"""A wire without a network: requests go to an engine in this process, and its pieces are stamped where they are made.

There is no HTTP, so a record of it has no bytes on a wire and no connection. Stamps are of the user clock, taken in
whichever thread the engine works, so a late loop does not make them late.
"""

from __future__ import annotations

from harness.backends.protocol import EngineFailure, LocalEngine
from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.task_wire import TaskWire


class EngineWire(TaskWire):
    """See `harness.load.wire.Wire`. `open` loads the engine, once."""

    def __init__(self, engine: LocalEngine) -> None:
        super().__init__()
        self._engine = engine
        self._loaded = False

    async def open(self, connections: int) -> None:
        """
        Raises:
            TargetError: the engine cannot be loaded.
        """
        if not self._loaded:
            await self._loop.run_in_executor(None, self._engine.load)
            self._loaded = True

    def send(self, exchange: Exchange) -> None:
        exchange.status = 200  # what a server would have said: the answer is read as from one
        super().send(exchange)

    async def _ask(self, exchange: Exchange) -> None:
        bodies, stamps = exchange.bodies, exchange.body_stamps

        def say(piece: bytes) -> None:
            if not exchange.ended:
                stamp = now_ns()
                exchange.first_byte_ns = exchange.first_byte_ns or stamp
                stamps.append(stamp)
                bodies.append(piece)

        try:
            await self._engine.answer(exchange.id, exchange.body, say)
        except EngineFailure as failure:
            exchange.fail(failure.name, failure.detail)
        except Exception as error:  # whatever an engine may raise, it is this request that failed
            exchange.fail("engine_error", f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        await super().close()
        await self._loop.run_in_executor(None, self._engine.close)
