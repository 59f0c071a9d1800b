"""The mock server as a process of its own, on a core of its own, whose truth is read when it has ended.

Ours and any other program with the same options (`--port --ttft-ms --itl-ms --core --log`) will do.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ground_truth import Truth, read

_PATIENCE_S = 5.0


class Server:
    """A server that is up. `truth` may be read once it has been stopped."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    def truth(self) -> Truth:
        return read(self._log)


@contextmanager
def serving(program: Path, log: Path, *, ttft_ms: float, itl_ms: float, core: int) -> Iterator[Server]:
    """Start it on a free port, stop it at the end. The truth is at `log` afterwards.

    Raises:
        RuntimeError: it did not come up, or did not end well.
    """
    port = _free_port()
    pace = ["--ttft-ms", str(ttft_ms), "--itl-ms", str(itl_ms)]
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        [program, "--port", str(port), *pace, "--core", str(core), "--log", log],
        stderr=subprocess.PIPE,
    )
    try:
        _await(process, port)
        yield Server(port, log)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    if process.returncode:
        raise RuntimeError(f"{program} ended with {process.returncode}: {said.decode(errors='replace').strip()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() < begin + _PATIENCE_S:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"the mock server does not listen on port {port}")
