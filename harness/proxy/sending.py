"""Bytes onto a connection without a turn of the loop between."""

from __future__ import annotations

import asyncio
import os
from typing import cast


class Outlet:
    """The sending side of a transport. What the socket takes at once goes at once; the rest waits in the transport.

    uvloop keeps what is written until all sockets of a turn are read. With many streams in step, the first of them
    would wait for the last.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        plain = transport.get_extra_info("sslcontext") is None
        self._fd = transport.get_extra_info("socket").fileno() if plain else -1
        self._pending = self.transport.get_write_buffer_size

    def send(self, data: bytes) -> None:
        """Send all of it, now or as soon as the socket takes it."""
        if self._fd >= 0 and not self._pending() and not self.transport.is_closing():
            try:
                sent = os.write(self._fd, data)
            except OSError:
                sent = 0  # full, or gone: the transport knows what to do
            if sent == len(data):
                return
            data = data[sent:]
        self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()
