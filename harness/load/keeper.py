"""The handler of a connection while an answer streams: what comes is kept, and nothing else is done.

It runs once a token, for thousands of streams in turn, so it takes care to touch little memory: what it needs each
time is in its defaults.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from harness.load.exchange import Exchange
from harness.load.kernelclock import ANCILLARY_BYTES, KernelClock, unpack
from harness.load.loop import READ, Handler

READ_BYTES = 8_192  # an event is a few hundred bytes: what is read is copied, what is reserved touches the cache
CHUNK_END = b"\r\n\r\n"  # may be that of the last chunk
PILE = 48  # unframed reads of one answer that are worth a chore of their own: what waits takes memory


class Usual(NamedTuple):
    """What the connection does with all but plain reads: `readable` serves the descriptor, `arrived` takes a read,
    `unread` the error instead of one."""

    readable: Handler
    arrived: Callable[[int, bytes, list[Any]], None]
    unread: Callable[[OSError], None]


def keeper(exchange: Exchange, recvmsg: Callable[[int, int], Any], clock: KernelClock, usual: Usual) -> Handler:
    """A handler that keeps reads with their kernel stamps in the exchange; any that may be the last is `usual`."""

    def readable(
        mask: int,
        recvmsg: Callable[[int, int], Any] = recvmsg,
        parts: list[bytes] = exchange.parts,
        stamps: array[int] = exchange.stamps,
        clock: KernelClock = clock,
    ) -> None:
        if mask != READ:
            usual.readable(mask)
            return
        try:
            data, ancillary, _, _ = recvmsg(READ_BYTES, ANCILLARY_BYTES)
        except OSError as error:
            usual.unread(error)
            return
        if data[-4:] == CHUNK_END or not ancillary or not 3 < len(data) < READ_BYTES:
            usual.arrived(mask, data, ancillary)
            return
        seconds, nanoseconds = unpack(ancillary[0][2])
        parts.append(data)
        if seconds != clock.second:
            clock.turn(seconds)
        stamps.append(clock.second_ns + nanoseconds)
        if len(parts) == PILE and exchange.progress is not None:
            exchange.progress(exchange)

    return readable
