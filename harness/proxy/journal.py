"""The journal of a recording: each call in its place, a line each, as soon as it is known. The trace is made of it.

A recording that was killed is lost no further than to its last line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.proxy.blocks import BLOCK_TOKENS
from harness.proxy.grouping import Placed
from harness.workloads.traces.harness import VERSION, Line, encode

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Placed).decode


def path_of(out: Path) -> Path:
    """Where the journal of a trace lies."""
    return out.with_name(out.name + ".journal")


class Journal:
    """Appends to the journal of `out`, which exists."""

    def __init__(self, out: Path) -> None:
        self._file = path_of(out).open("ab", buffering=0)

    def add(self, call: Placed) -> None:
        """On disk when this returns, as far as a killed process is concerned."""
        self._file.write(_write(call) + b"\n")

    def close(self) -> None:
        self._file.close()


def line(session: str, calls: Iterable[Placed]) -> bytes:
    """A session as a line of the trace."""
    nodes = [call.node for call in calls]
    start = min(call.start_ms for call in calls)
    made = Line(harness_trace=VERSION, session=session, start_ms=start, block_tokens=BLOCK_TOKENS, nodes=nodes)
    return encode(made) + b"\n"


def finish(out: Path) -> tuple[int, int]:
    """Make the trace `out` of the journal of a recording that broke off. How many sessions and calls it has.

    Raises:
        UsageError: there is no such journal, or it cannot be read.
    """
    path = path_of(out)
    sessions: dict[str, list[Placed]] = {}
    try:
        rows = path.read_bytes().splitlines()
        for number, row in enumerate(rows, 1):
            try:
                call = _read(row)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if number == len(rows):
                    break  # it was being written
                raise UsageError(f"{path}, line {number}: {error}") from None
            sessions.setdefault(call.session, []).append(call)
        draft = out.with_name(out.name + ".draft")
        draft.write_bytes(b"".join(line(session, calls) for session, calls in sessions.items()))
        os.replace(draft, out)
        path.unlink()
    except FileNotFoundError:
        raise UsageError(f"there is no {path}: no recording to {out} broke off") from None
    except OSError as error:
        raise UsageError(f"cannot finish {out}: {error.strerror}") from None
    return len(sessions), sum(map(len, sessions.values()))
