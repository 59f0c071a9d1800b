"""`python -m harness.backends.guardian COMMAND ...`: run a server, and let nothing of it outlive us.

The server and all it starts form a process group of their own. Its end comes when our stdin does: whoever started us
closes the pipe, or dies in whatever way, and the kernel closes it. Then the group gets SIGTERM and, where that does
not help, SIGKILL. Says the server's pid on stdout, sends the server's output to our stderr, and ends when it has
ended, with its exit code (128 + n where signal n ended it).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_S = 10.0
_CANNOT_START = 127
_PR_SET_CHILD_SUBREAPER = 36


def guard(command: list[str], *, lifeline: int = 0) -> int:
    """Run `command` until it ends or `lifeline` does. Its exit code."""
    _adopt_orphans()
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, process_group=0)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return _CANNOT_START
    print(server.pid, flush=True)
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while server.poll() is None:
            ready, _, _ = select.select([lifeline, bell], [], [])
            if bell in ready:
                os.read(bell, 64)
            if lifeline in ready and not os.read(lifeline, 64):
                break
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end(server)
    code = server.wait()
    return 128 - code if code < 0 else code


def _adopt_orphans() -> None:
    """On Linux, what the server leaves behind becomes our child, so that we see it end."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then for good."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, signum)
            while time.monotonic() < deadline:
                server.poll()
                with suppress(ChildProcessError):
                    os.waitpid(-server.pid, os.WNOHANG)  # an adopted one
                os.killpg(server.pid, 0)
                time.sleep(0.02)
            continue
        return


def main() -> int:
    """Ctrl-C is for who started us: they close the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return guard(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
