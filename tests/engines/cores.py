"""Which cores the engine works on, and which the load generator: on few cores they must not share one."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
CLIENT = CORES[-1:]
ENGINE = CORES[:-1] or CORES
STRAINED = {"loop_lag", "send_lag", "coalesced", "worker_cpu"}  # findings of a client that had to wait for its core


def on_cores(command: list[str], cores: list[int]) -> list[str]:
    """The command, kept on these cores."""
    script = f"import os, sys; os.sched_setaffinity(0, {cores}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", script, *command]


def wrapped(binary: Path, place: Path) -> Path:
    """An executable in the folder `place` that runs `binary` on the engine's cores."""
    script = place / binary.name
    script.write_text(f'#!/bin/sh\nexec {shlex.join(on_cores([str(binary)], ENGINE))} "$@"\n')
    script.chmod(0o755)
    return script


def hold(ours_ms: float, theirs_ms: float, told: str, findings: set[str]) -> None:
    """Our mean `ttft` against the server's: never smaller, and within 15 % or 5 ms, unless the run itself says that the
    client was kept waiting. What was found is printed."""
    print(f"\nttft: ours {ours_ms:.1f} ms, {told}")
    assert theirs_ms <= ours_ms, "our span holds the server's"
    if findings & STRAINED:
        print(f"no upper limit: the client had to wait for its core ({', '.join(sorted(findings & STRAINED))})")
    else:
        assert ours_ms <= max(theirs_ms * 1.15, theirs_ms + 5)
