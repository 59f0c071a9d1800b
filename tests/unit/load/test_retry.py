"""Asking again where the server is too busy: on virtual time, exact to the nanosecond."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.load.exchange import Exchange
from harness.load.retry import retry_after_s
from tests.unit.load import test_player
from tests.unit.load.test_player import MS, FakeWire, Play, ask, by_name, drain

S = 1000 * MS
ONE = {"concurrency": 1, "sessions": 1}


def busy(first: int, status: int = 429, **headers: str) -> type[FakeWire]:
    """A wire over which the first answers to each request say that the server is too busy."""

    class Busy(FakeWire):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.instants: list[int] = []

        def send(self, exchange: Exchange) -> None:
            super().send(exchange)
            self.instants.append(exchange.sent_ns)

        def _answer(self, exchange: Exchange) -> None:
            seen = sum(each.id == exchange.id for each in self.sent)
            if seen > first or exchange.ended:
                super()._answer(exchange)
                return
            exchange.status = status
            exchange.headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
            exchange.bodies.append(b'{"error":{"message":"too busy"}}')
            exchange.body_stamps.append(self._scheduler.now())
            exchange.bytes_framed += 100
            self._end(exchange)

    return Busy


def sent_ms(play: Play) -> list[float]:
    """When each attempt was sent."""
    return [(at - play.t0_ns) / MS for at in play.wire.instants]  # type: ignore[attr-defined]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Play]:
    def over(wire: type[FakeWire], *nodes: Any, retry: int = 3, load: dict[str, Any] = ONE, **more: Any) -> Play:
        monkeypatch.setattr(test_player, "FakeWire", wire)
        limits = {"retry": retry, **more.pop("limits", {})}
        return Play(tmp_path, *(nodes or (ask("only"),)), load=load, limits=limits, **more)

    return over


def test_it_asks_again_when_retry_after_says_and_counts_the_wait(play: Callable[..., Play]) -> None:
    done = play(busy(2, retry_after="3"))
    (record,) = done.records
    assert sent_ms(done) == [0, 3100, 6200]
    assert (record.status, record.attempt, record.http_status) == ("ok", 3, 200)
    assert record.sent_ns == record.intended_ns == 0
    assert record.first_token_ns == record.end_ns == 6300 * MS
    assert record.chunk_us == [6_300_000]
    assert record.bytes_in == 200
    assert {exchange.id for exchange in done.wire.sent} == {record.id}
    assert (done.tally.requests_sent, done.tally.requests_ok, done.tally.requests_failed) == (1, 1, 0)
    assert done.health.read().send_lag_max_s == 0


def test_without_retry_after_each_wait_is_twice_the_last(play: Callable[..., Play]) -> None:
    done = play(busy(3, status=503))
    assert sent_ms(done) == [0, 1100, 3200, 7300]
    assert done.records[0].attempt == 4 and done.records[0].status == "ok"


def test_after_so_many_attempts_it_is_a_failure(play: Callable[..., Play]) -> None:
    (record,) = play(busy(9), retry=2).records
    assert (record.status, record.error, record.attempt) == ("failed", "http_429", 3)
    assert record.sent_ns == 0 and record.end_ns == 3300 * MS


@pytest.mark.parametrize(("status", "retry", "after"), [(429, 0, "1"), (500, 3, "1"), (400, 3, "1"), (429, 3, "121")])
def test_what_is_not_asked_again(play: Callable[..., Play], status: int, retry: int, after: str) -> None:
    (record,) = play(busy(1, status=status, retry_after=after), retry=retry).records
    assert (record.error, record.attempt, record.end_ns) == (f"http_{status}", 1, 100 * MS)


def test_what_follows_runs_from_the_answer_that_came_at_last(play: Callable[..., Play]) -> None:
    done = play(busy(1, retry_after="2"), ask("first"), ask("second", after=(0,), gap_ms=500))
    rows = by_name(done)
    assert rows["second"].intended_ns == (2200 + 500) * MS
    assert [rows[name].attempt for name in rows] == [2, 2]
    assert done.tally.sessions_done == 1


def test_a_place_in_flight_is_free_while_one_waits(play: Callable[..., Play]) -> None:
    load = {"rate": "10/s", "arrivals": "constant", "sessions": 3}
    done = play(busy(1, retry_after="5"), load=load, limits={"max_in_flight": 1})
    assert done.wire.most == 1 and len(done.records) == 3
    assert max(record.end_ns for record in done.records) < 6 * S


@pytest.mark.parametrize("stops", [(True,), (True, False)])
def test_stop_leaves_the_last_answer(play: Callable[..., Play], stops: tuple[bool, ...]) -> None:
    done = play(busy(9, retry_after="60"), script=drain(1.0, *stops))
    (record,) = done.records
    assert (record.error, record.attempt) == ("http_429", 1)
    assert done.ended_ns < 3 * S


def test_one_that_waits_is_cancelled_when_enough_others_have_answered(play: Callable[..., Play]) -> None:
    class Half(busy(9, retry_after="20")):  # type: ignore[misc]
        def _answer(self, exchange: Exchange) -> None:
            (super() if "slow" in exchange.id else super(busy_class, self))._answer(exchange)

    busy_class = Half.__mro__[1]
    join = ask("join", after=(0, 1), need=1, cancel_losers=True)
    done = play(Half, ask("quick"), ask("slow"), join, delay=lambda each: 0.3 if "quick" in each.id else 0.1)
    rows = by_name(done)
    assert (rows["slow"].status, rows["slow"].attempt, rows["join"].status) == ("cancelled", 1, "ok")
    assert done.ended_ns < 2 * S and done.tally.sessions_done == 1


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        (" 0.5 ", 0.5),
        ("Sun, 01 Mar 2026 12:00:07 GMT", 7),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
