"""Asking again where the server says that it is too busy: HTTP 429 and 503, and only if `limits.retry` wants it.

Attempts at one request are one request: it has one record, which says how many there were, and its latencies run from
when the first was sent (or due). So the time that was waited is part of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from harness.load.exchange import Exchange
from harness.load.scheduler import Scheduler
from harness.units import NS_PER_S

_BUSY = (429, 503)
_FIRST_S = 1.0  # without Retry-After: 1 s, then twice as long each time
_LONGEST_S = 60.0


class Retry:
    """Up to `most` further attempts, put into `due` until they are sent by `send(exchange, intended_ns)`.

    Waits longer than `patience_ns` are not waited: the answer stands.
    """

    def __init__(
        self,
        most: int,
        patience_ns: int,
        scheduler: Scheduler,
        due: dict[Exchange, asyncio.TimerHandle],
        send: Callable[[Exchange, int], None],
    ) -> None:
        self._most = most
        self._patience_ns = patience_ns
        self._scheduler = scheduler
        self._due = due
        self._send = send

    def again(self, exchange: Exchange) -> bool:
        """Plan one more attempt. False: what was answered stands."""
        owner = exchange.owner
        if exchange.error is not None or exchange.status not in _BUSY or owner.attempt > self._most:
            return False
        told = retry_after_s(exchange.headers.get(b"retry-after", b"").decode("latin-1"), datetime.now(UTC))
        wait_ns = round((min(_LONGEST_S, _FIRST_S * 2 ** (owner.attempt - 1)) if told is None else told) * NS_PER_S)
        if wait_ns > self._patience_ns or owner.index in owner.walk.cancelled:
            return False
        following = Exchange(exchange.id, exchange.path, exchange.body, exchange.done)
        following.payload, following.owner, following.progress = exchange.payload, owner, exchange.progress
        owner.before, owner.reading = exchange, None
        if owner.walk.under_way is not None:
            owner.walk.under_way[owner.index] = following
        self._due[following] = self._scheduler.at(exchange.end_ns + wait_ns, self._send, following, owner.intended_ns)
        return True


def count_from_the_first(exchange: Exchange) -> None:
    """Latencies and bytes of an attempt that has ended hold those before it, which are let go."""
    before = exchange.owner.before
    before.owner = exchange.owner.before = None  # no cycles: the collector is off
    exchange.sent_ns = before.sent_ns
    exchange.bytes_framed += before.bytes_in
    exchange.bytes_out += before.bytes_out


def retry_after_s(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for: a number, or a date; None where it says neither."""
    value = value.strip()
    try:
        if value.replace(".", "", 1).isdigit():  # some servers tell fractions
            return float(value)
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())
