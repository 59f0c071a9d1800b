"""The process of the recording proxy: socket, signals, loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from pathlib import Path

from harness.errors import UsageError
from harness.proxy.exchange import Exchange
from harness.proxy.recorder import Recorder
from harness.proxy.relay import Client
from harness.proxy.scribe import Tally
from harness.proxy.target import Target


def serve(*, target: str, host: str, port: int, out: Path, idle_s: float, contents: bool, session_header: str) -> None:
    """Listen, print `listening on URL` on stdout, and forward until SIGTERM or SIGINT.

    Raises:
        UsageError: the target is no URL, the file exists, or the address cannot be used.
    """
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(_serve(Target(target), host, port, (out, idle_s, contents), session_header))
    finally:
        loop.close()


async def _serve(target: Target, host: str, port: int, record: tuple[Path, float, bool], session_header: str) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    under_way: set[Exchange] = set()
    clients: set[Client] = set()
    header = session_header.lower().encode("latin-1")
    recorder: Recorder | None = None
    tally: Tally | None = None

    def done(exchange: Exchange) -> None:
        if recorder is not None:
            recorder.take(exchange)

    try:
        server = await loop.create_server(lambda: Client(target, header, under_way, done, clients), host, port)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise UsageError(f"cannot listen on {host}:{port}: {why}", remedy="--port 0 takes a free port") from error
    out, idle_s, contents = record
    try:
        recorder = Recorder(out, idle_s=idle_s, contents=contents, oldest_s=lambda: _oldest_s(under_way))
        await recorder.start()
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                loop.add_signal_handler(getattr(signal, name), stopped.set)
        bound, taken = server.sockets[0].getsockname()[:2]
        shown = f"[{bound}]" if ":" in bound else bound
        print(f"listening on http://{shown}:{taken}{target.path}", flush=True)
        await stopped.wait()
    finally:
        server.close()
        for client in list(clients):
            client.cut()
        await asyncio.sleep(0)
        if recorder is not None:
            tally = await recorder.close()
    with contextlib.suppress(OSError):
        print(_told(tally, out), file=sys.stderr)


def _oldest_s(under_way: set[Exchange]) -> float:
    return min((one.start_s for one in under_way.copy()), default=math.inf)


def _told(tally: Tally, out: Path) -> str:
    words = f"{tally.sessions} sessions with {tally.calls} requests in {out}"
    if tally.unread:
        words += f"; {tally.unread} requests without a whole, readable answer were left out"
    if tally.estimated:
        words += f"; {tally.estimated} answers came without usage: their lengths are estimates (4 bytes a token)"
    return words
