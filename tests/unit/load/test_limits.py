"""Caps over any minute, on virtual time: never exceeded, and nothing waits longer than it must."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clock import VirtualLoop
from harness.config import Limits
from harness.load.exchange import Exchange
from harness.load.limits import MINUTE_NS, RETRY_S, Limiter
from harness.load.scheduler import Scheduler

pytestmark = pytest.mark.usefixtures("virtual_throttle")
LATE_NS = round(2 * RETRY_S * 1e9)  # the throttle looks so often

Sent = tuple[int, int, int]  # when it was due, when it was let through, its tokens


def let_through(asked: list[tuple[float, int]], *, shard: tuple[int, int] = (0, 1), **limits: Any) -> list[Sent]:
    """Requests of so many tokens, each due so many seconds after the one before. Answers take no time."""
    loop = VirtualLoop()
    due: dict[str, int] = {}
    sent: list[Sent] = []

    async def main() -> None:
        scheduler = Scheduler(loop.now_ns)
        limiter = Limiter(Limits(**limits), scheduler, *shard)

        def send(exchange: Exchange) -> None:
            sent.append((due[exchange.id], scheduler.now(), exchange.owner.tokens))
            limiter.left(exchange)

        for number, (pause, tokens) in enumerate(asked):
            if pause:
                await asyncio.sleep(pause)
            exchange = Exchange(f"{number:04d}", "/x", b"", lambda _: None)
            exchange.owner = SimpleNamespace(tokens=tokens)
            due[exchange.id] = scheduler.now()
            limiter.admit(exchange, send)
        while len(sent) < len(asked):
            await asyncio.sleep(1.0)
        assert not limiter.waited
        assert limiter.waits == sum(at > was_due for was_due, at, _ in sent)

    loop.run(main())
    return sent


def worst(sent: list[Sent], *, tokens: bool = False) -> int:
    """The most that any minute saw."""
    amounts = sorted((at, count if tokens else 1) for _, at, count in sent)
    return max(sum(n for at, n in amounts if begin <= at < begin + MINUTE_NS) for begin, _ in amounts)


def drawn(count: int, most: int, lull_s: float) -> list[tuple[float, int]]:
    """Bursts and lulls of requests of any size."""
    draw = random.Random(7)
    return [(draw.choice((0.0, 0.0, 0.0, draw.uniform(0, lull_s))), draw.randint(1, most)) for _ in range(count)]


@pytest.mark.parametrize("lull_s", [10, 200, 600])  # the queue is never empty; now and then; mostly
@pytest.mark.parametrize("most", [9, 30])  # the requests are what is too many; the tokens
def test_no_minute_sees_more_than_both_caps_and_nothing_waits_without_need(lull_s: float, most: int) -> None:
    sent = let_through(drawn(300, most, lull_s), requests_per_minute=5, tokens_per_minute=40)
    assert worst(sent) <= 5 and worst(sent, tokens=True) <= 40
    before: Sent = (0, -1, 0)
    for number, (due, at, tokens) in enumerate(sent):
        assert due <= at and before[1] <= at
        if at not in (due, before[1]):
            last = [n for _, then, n in sent[:number] if then >= at - MINUTE_NS - LATE_NS]
            assert len(last) == 5 or sum(last) + tokens > 40
        before = (due, at, tokens)


@pytest.mark.parametrize(("cap", "most"), [(10, 10), (11, 11), (3, 3), (7.9, 7)])
def test_the_caps_of_all_workers_are_the_cap(cap: float, most: int) -> None:
    together = [one for k in range(3) for one in let_through([(0, 1)] * 20, shard=(k, 3), requests_per_minute=cap)]
    assert worst(together) == most
    first = [at for _, at, _ in together if at < MINUTE_NS]
    assert len(first) == most  # and all of it is used


def test_less_than_one_request_a_minute() -> None:
    sent = let_through([(0, 1)] * 3, requests_per_minute=0.4)
    assert [at / MINUTE_NS for _, at, _ in sent] == pytest.approx([0, 2.5, 5], abs=0.001)


def test_a_request_of_more_tokens_than_the_cap_saves_them_up() -> None:
    sent = let_through([(0, 25), (0, 4)], tokens_per_minute=10)
    assert [at / MINUTE_NS for _, at, _ in sent] == [2, 2]  # 10 at once, 10 after a minute, 5 after two, and 4 more


def test_places_in_flight_are_dealt_out_to_the_last() -> None:
    def places(shard: int, shards: int) -> int:
        loop = VirtualLoop()
        sent: list[Exchange] = []

        async def main() -> None:
            limiter = Limiter(Limits(max_in_flight=7), Scheduler(loop.now_ns), shard, shards)
            for number in range(9):
                limiter.admit(Exchange(str(number), "/x", b"", lambda _: None), sent.append)
            assert [exchange.id for exchange in limiter.clear()] == [str(n) for n in range(len(sent), 9)]

        loop.run(main())
        return len(sent)

    assert [places(shard, 3) for shard in range(3)] == [3, 2, 2]
    assert [places(shard, 7) for shard in range(7)] == [1] * 7
    # shard 0 of 2 has two workers of its own, shard 1 has three
    assert [places(0, 4), places(2, 4), places(1, 6), places(3, 6), places(5, 6)] == [2, 2, 1, 1, 1]
