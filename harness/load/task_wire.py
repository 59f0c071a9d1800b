"""What wires have in common that play each request in a task of its own: how it starts, ends and is given up."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.loop import WireLoop


class TaskWire(ABC):
    """See `harness.load.wire.Wire`. A subclass asks, and stamps what comes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}

    @abstractmethod
    async def _ask(self, exchange: Exchange) -> None:
        """Fill the exchange until its answer has ended; `exchange.fail` where it went wrong."""

    def render(self, exchange: Exchange) -> None:
        exchange.payload = exchange.body

    def send(self, exchange: Exchange) -> None:
        exchange.sent_ns = now_ns()
        self._tasks[exchange] = self._loop.create_task(self._play(exchange))
        if isinstance(self._loop, WireLoop):
            self._loop.wake()

    async def _play(self, exchange: Exchange) -> None:
        try:
            await self._ask(exchange)
        except asyncio.CancelledError:
            return
        self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        if exchange.ended:
            return
        exchange.ended = True
        stamps = exchange.body_stamps
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
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
