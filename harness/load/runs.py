"""Runs of plain events, taken apart many at a time.

While tokens stream, an answer is chunk after chunk of HTTP, each with one event of one line. A few operations over
many of them cost half of what parsers cost that are asked once an event. Whatever is not plainly so is left to the
parsers: sizes with zeros in front, extensions, events that share a chunk or lie in two, other fields, other line ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_SIZES = {spelling: size for size in range(1, 4096) for spelling in (b"%x" % size, b"%X" % size)}
_FRAME = 4  # bytes: the line ends after a size and after a chunk
_EVENT = 8  # bytes: `data: ` and the line ends of an event
_PLAIN = re.compile(rb"([0-9A-Fa-f]+)\r\ndata: (.*)\n\n\r\n")
_END = b"\n\n\r\n"


class Run(NamedTuple):
    """Events taken from some reads: the data of each, the read that ended it, and what is left of the reads."""

    data: list[bytes]
    ended_by: Sequence[int]  # one for each event: which of the reads its last byte came with
    used: int  # reads of which nothing is left
    left: bytes  # of the next one: what has not been taken


def plain_events(reads: Sequence[bytes]) -> Run | None:
    """The plain events that these reads begin with; None where they begin with anything else.

    The first read has to begin a chunk, and an event.
    """
    stream = b"".join(reads)
    found = _PLAIN.findall(stream)
    chunks = [len(data) + _EVENT for _, data in found]
    if not found or chunks != [_SIZES.get(size) for size, _ in found]:
        return None
    lengths = [len(size) + chunk + _FRAME for (size, _), chunk in zip(found, chunks, strict=True)]
    data = [data for _, data in found]
    taken = sum(lengths)
    if taken != stream.rfind(_END) + len(_END) or b"\r" in b"".join(data):
        return None  # something else lies between them
    if lengths == list(map(len, reads)):
        return Run(data, range(len(reads)), len(reads), b"")
    return _spread(reads, stream, data, lengths)


def _spread(reads: Sequence[bytes], stream: bytes, data: list[bytes], lengths: list[int]) -> Run:
    """Tell which read ended each event, where reads hold several, or parts of one."""
    ended_by = []
    read, read_end, position = 0, len(reads[0]), 0
    for length in lengths:
        position += length
        while read_end < position - 2:  # the line end after the chunk is not the event's
            read += 1
            read_end += len(reads[read])
        ended_by.append(read)
    while read_end <= position:
        read += 1
        if read == len(reads):
            return Run(data, ended_by, read, b"")
        read_end += len(reads[read])
    return Run(data, ended_by, read, stream[position:read_end])
