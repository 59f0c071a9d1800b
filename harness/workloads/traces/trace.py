"""What every trace format is read into: sessions of calls, with lengths, gaps and block hashes, and no contents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from harness.workloads.traces.file import TraceFile


class TraceCall(msgspec.Struct, kw_only=True, gc=False):
    """One recorded call.

    Attributes:
        name: unique in its session.
        after: places of the calls it waited for, all before it.
        history: place of the call whose conversation it continues, or None.
        input_tokens: what it adds to its history; without one, its whole prompt.
        output_tokens: length of its answer.
        gap_s: from the end of the last call it waited for to its start, in seconds.
        blocks: hashes of what it adds, in blocks of `block_tokens`, the last one cut to fit; empty where unknown.
    """

    name: str
    after: tuple[int, ...] = ()
    history: int | None = None
    input_tokens: int
    output_tokens: int
    gap_s: float = 0.0
    blocks: tuple[int | str, ...] = ()
    block_tokens: int = 0
    agent: str = "main"
    depth: int = 0


class TraceSession(msgspec.Struct, kw_only=True, gc=False):
    """One recorded session. `start_s` is on any axis, or None; `line` is where it stands in its file."""

    id: str
    calls: list[TraceCall]
    line: int
    start_s: float | None = None


class Reader(Protocol):
    """A trace format: a module with these two functions."""

    def recognises(self, head: str) -> bool:
        """Whether a file that begins with this text (64 KiB at most) is of this format."""
        ...

    def sessions(self, file: TraceFile) -> Iterator[TraceSession]:
        """The sessions in the file, in its order. What cannot be used is reported to `file.skip`."""
        ...


def positive(value: object, name: str) -> int:
    """`value` as a token count of at least 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        value = float(value) if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 1e9 or value != int(value):
        raise ValueError(f"{name} is {value!r}, not a number of tokens of at least 1")
    return int(value)


def seconds(value: object, name: str, unit: float = 1.0) -> float:
    """`value` times `unit` as a finite time of at least 0.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        value = float(value) if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        raise ValueError(f"{name} is {value!r}, not a time")
    return value * unit


def estimate(text: str) -> int:
    """About how many tokens a text has: a token for every 4 UTF-8 bytes, at least 1."""
    return max(1, round(len(text.encode()) / 4))
