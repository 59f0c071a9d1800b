"""The process behind a port of this machine, from Linux' /proc (man 5 proc; net/tcp of the kernel's documentation)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"
# They hold the port open for an engine elsewhere: in a container, on another machine.
_FORWARDERS = frozenset(
    {"docker-proxy", "rootlessport", "conmon", "slirp4netns", "pasta", "pasta.avx2", "ssh", "sshd", "kubectl", "socat"}
    | {"nginx", "haproxy", "envoy", "caddy", "traefik", "litellm", "harness"}
)


def listener(port: int, proc: Path) -> int | None:
    """The pid that listens on a TCP port; of several that share it the one that began first. None where that cannot be
    seen (another user's process, another network namespace), or where it only passes on to an engine elsewhere."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not sockets:
        return None
    holders = [int(name) for name in os.listdir(proc) if name.isdigit() and sockets & set(_files(proc / name / "fd"))]
    if not holders or any(_name(proc / str(pid)) in _FORWARDERS for pid in holders):
        return None
    return min(holders)


def _inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _files(folder: Path) -> Iterator[str]:
    """What the open files of a process point to; nothing where it has ended or is somebody else's."""
    try:
        for name in os.listdir(folder):
            yield os.readlink(folder / name)
    except OSError:
        return


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
