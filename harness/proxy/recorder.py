"""The proxy's side of the recording: hands exchanges to the process that writes the trace, between its own work."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from harness.errors import HarnessError, UsageError
from harness.proxy.exchange import Exchange
from harness.proxy.journal import path_of
from harness.proxy.scribe import Message, Opening, Passed, Taken, Tally, encode

_PAUSE_S = 1.0  # between two looks for sessions that are over


class _Told(asyncio.SubprocessProtocol):
    """Hears what the process says at its end."""

    def __init__(self) -> None:
        self.said = b""
        self.ended = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.said += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)


class Recorder:
    """Records to `out`, which must not exist. A session is written when it was idle for `idle_s`, or at the end.

    There is no thread here: it would hold up the forwarding whenever it is its turn.
    """

    def __init__(self, out: Path, *, idle_s: float, contents: bool, oldest_s: Callable[[], float]) -> None:
        said = out.with_name(out.name + ".contents") if contents else None
        _create([path_of(out), out, *([said] if said else [])])
        self._opening = Opening(
            out=str(out), contents=str(said) if said else None, idle_s=idle_s, origin_s=time.monotonic()
        )
        self._pause_s = min(_PAUSE_S, idle_s / 4)
        self._oldest_s = oldest_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Exchange] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start the process that writes."""
        command = [sys.executable, "-m", "harness.proxy.scribe"]
        self._process, self._told = await self._loop.subprocess_exec(
            _Told, *command, stderr=None, start_new_session=True
        )
        self._stdin = cast(asyncio.WriteTransport, self._process.get_pipe_transport(0))
        self._say(self._opening)
        self._timer = self._loop.call_later(self._pause_s, self._passed)

    def take(self, exchange: Exchange) -> None:
        """Hand over an exchange that has ended, as soon as there is time."""
        if exchange.wanted:
            self._waiting.append(exchange)
            if len(self._waiting) == 1:
                self._loop.call_soon(self._hand_over)

    async def close(self) -> Tally:
        """Have all written that is open.

        Raises:
            HarnessError: the process that writes has failed.
        """
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._say(Taken(self._waiting.popleft()))
        if not self._stdin.is_closing():
            self._stdin.write_eof()
        await self._told.ended
        code = self._process.get_returncode()
        if code or not self._told.said:
            raise HarnessError(
                f"the process that writes the trace has ended with {code}",
                remedy=f"harness record --finish --out {self._opening.out} saves what was recorded",
            )
        tally: Tally = msgspec.json.decode(self._told.said, type=Tally)
        return tally

    def _hand_over(self) -> None:
        """One exchange a turn of the loop."""
        if self._waiting:
            self._say(Taken(self._waiting.popleft()))
        if self._waiting:
            self._loop.call_soon(self._hand_over)

    def _passed(self) -> None:
        if not self._waiting:
            self._say(Passed(min(self._oldest_s(), time.monotonic())))
        self._timer = self._loop.call_later(self._pause_s, self._passed)

    def _say(self, message: Message) -> None:
        if not self._stdin.is_closing():
            data = encode(message)
            self._stdin.write(len(data).to_bytes(4, "big") + data)


def _create(paths: list[Path]) -> None:
    """Make these files, which must not exist; all or none.

    Raises:
        UsageError: one exists, or cannot be made.
    """
    made: list[Path] = []
    try:
        for path in paths:
            path.open("xb").close()
            made.append(path)
    except OSError as error:
        for path in made:
            path.unlink()
        exists = isinstance(error, FileExistsError)
        if exists and path == paths[0]:
            raise UsageError(
                f"{path} is the journal of a recording that broke off",
                remedy=f"harness record --finish --out {paths[1]} makes a trace of it",
            ) from None
        raise UsageError(
            f"cannot write {path}: {'exists' if exists else error.strerror}", remedy="give another --out"
        ) from None
