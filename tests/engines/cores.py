"""Which cores the engine works on, and which the load generator: on few cores they must not share one."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
CLIENT = CORES[-1:]
ENGINE = CORES[:-1] or CORES
STRAINED = {"loop_lag", "coalesced", "worker_cpu"}  # findings of a client that had to wait for its core


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


@dataclass(frozen=True)
class Means:
    """Over the same requests, in ms: the server's figures, and ours."""

    ttft: float
    e2e: float


def hold(ours: Means, theirs: Means, told: str, findings: set[str]) -> None:
    """Our `ttft` is the server's within 15 % or 5 ms, once what surrounds the whole request, HTTP and JSON before the
    server's own clock starts, is taken off: that much `e2e` is larger, too. What was found is printed. A run that says
    of itself that the client was kept waiting has no upper limit."""
    around = ours.e2e - theirs.e2e
    print(f"\nttft: ours {ours.ttft:.1f} ms, {told}; e2e: ours {ours.e2e:.1f} ms, the server's {theirs.e2e:.1f} ms")
    assert theirs.ttft <= ours.ttft and theirs.e2e <= ours.e2e, "our spans hold the server's"
    if findings & STRAINED:
        print(f"no upper limit: the client had to wait for its core ({', '.join(sorted(findings & STRAINED))})")
    else:
        assert ours.ttft - around <= max(theirs.ttft * 1.15, theirs.ttft + 5)
