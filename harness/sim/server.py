"""The process of the simulated engine: socket, signals, and the parent it must not outlive."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket

from harness.errors import UsageError
from harness.sim.http import Connection
from harness.sim.loop import precise_loop
from harness.sim.options import SimOptions
from harness.sim.profile import load
from harness.sim.simulator import Simulator
from harness.sim.truth import TruthFile

_BACKLOG = 4096
_PARENT_POLL_S = 1.0


def serve(options: SimOptions) -> None:
    """Listen, print `listening on URL` on stdout, and answer until SIGTERM or SIGINT; returns after a clean
    stop.

    Raises:
        UsageError: the options contradict each other, or the address cannot be used.
    """
    options.check()
    profile = None if options.paced else load(options.profile or options.default_profile)
    _raise_file_limit()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # clients that go away are no news
    loop = precise_loop()
    truth = None
    try:
        listener = _listen(options.host, options.port)
        truth = TruthFile(options.truth, loop) if options.truth else None
        simulator = Simulator(options, profile, loop, truth)
        loop.run_until_complete(_serve(options, simulator, listener))
    finally:
        if truth is not None:
            truth.close()
        loop.close()


async def _serve(options: SimOptions, simulator: Simulator, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    connections: set[Connection] = set()
    server = await loop.create_server(
        lambda: Connection(simulator.handle, connections, simulator.slow_accept),
        sock=listener,
        backlog=_BACKLOG,
    )
    watch = loop.create_task(_watch(options.parent_pid, stopped)) if options.parent_pid else None
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # answers free themselves; a long collection would hold events up
    host, port = listener.getsockname()[:2]
    print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}/v1", flush=True)
    await stopped.wait()
    server.close()
    for connection in list(connections):
        connection.cut()
    await asyncio.sleep(0)  # lets every connection tell its answer that it is over
    if watch:
        watch.cancel()


async def _watch(pid: int, stopped: asyncio.Event) -> None:
    """Stop when the process is gone, or is no more than a zombie."""
    while _alive(pid):
        await asyncio.sleep(_PARENT_POLL_S)
    stopped.set()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", remedy="--port 0 takes a free port"
        ) from error
    return listener


def _raise_file_limit() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
