"""What a server really did, read from the file it wrote: the format of `mock.c`, or that of a `MOCKGT2` server.

Times are CLOCK_MONOTONIC in nanoseconds.

`MOCKGT2` is binary: 8 bytes `MOCKGT2\\n`; four u64: requests, connections, events, blocked sends; then of each request
three u64: accept of the connection, first and last byte of the request; four u32: events, connection, tokens asked,
streamed; 64 bytes of x-request-id; and a u64 of each event, the time just before its send().
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]

_BINARY = b"MOCKGT2\n"
_HEAD = struct.Struct("<4Q")
_CALL = struct.Struct("<3Q4I64s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request and what was sent for it. Bytes are None where the server does not tell them."""

    id: str
    connection: int
    asked: int
    streamed: bool
    accepted_ns: int
    begun_ns: int
    complete_ns: int
    events_ns: Times
    role: bool
    usage: bool
    text_bytes: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None

    @property
    def tokens_ns(self) -> Times:
        """When each token was sent."""
        return self.events_ns[int(self.role) : int(self.role) + self.asked]

    @property
    def whole(self) -> bool:
        """Everything was sent, to the last event."""
        return len(self.events_ns) == (self.role + self.asked + self.usage + 1 if self.streamed else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """`streams` are the streamed answers in the order their requests were complete."""

    streams: list[Answer]
    others: list[Answer]
    connections: int
    blocked_sends: int

    def by_id(self) -> dict[str, Answer]:
        return {answer.id: answer for answer in self.streams}


def read(path: Path) -> Truth:
    """The truth in this file, whichever of the two formats it has.

    Raises:
        ValueError: it has neither.
    """
    data = path.read_bytes()
    if data.startswith(_BINARY):
        answers, connections, blocked = _binary(data)
    elif data.startswith(b'{"format":"bench-truth","version":1,'):
        answers, connections, blocked = _lines(data)
    else:
        raise ValueError(f"{path}: no ground truth: it begins with {data[:24]!r}")
    answers.sort(key=lambda answer: answer.complete_ns)
    return Truth(
        streams=[answer for answer in answers if answer.streamed],
        others=[answer for answer in answers if not answer.streamed],
        connections=connections,
        blocked_sends=blocked,
    )


def _lines(data: bytes) -> tuple[list[Answer], int, int]:
    head, *lines = data.splitlines()
    run = json.loads(head)
    answers = []
    for line in lines:
        told = json.loads(line)
        answers.append(
            Answer(
                id=told["id"],
                connection=told["connection"],
                asked=told["asked"],
                streamed=bool(told["streamed"]),
                accepted_ns=told["accepted"],
                begun_ns=told["begun"],
                complete_ns=told["complete"],
                events_ns=np.array(told["events"], dtype=np.int64) + told["complete"],
                role=bool(told["role"]),
                usage=bool(told["usage"]),
                text_bytes=told["text_bytes"],
                bytes_in=told["bytes_in"],
                bytes_out=told["bytes_out"],
            )
        )
    return answers, run["connections"], run["blocked_sends"]


def _binary(data: bytes) -> tuple[list[Answer], int, int]:
    count, connections, _, blocked = _HEAD.unpack_from(data, len(_BINARY))
    at = len(_BINARY) + _HEAD.size
    answers = []
    for _ in range(count):
        accepted, begun, complete, events, connection, asked, streamed, name = _CALL.unpack_from(data, at)
        at += _CALL.size
        times = np.frombuffer(data, dtype="<u8", count=events, offset=at).astype(np.int64)
        at += 8 * events
        beside = events - asked if streamed else 0  # role, usage, [DONE]: all chat streams begin with a role event
        answers.append(
            Answer(
                id=name.rstrip(b"\0").decode("latin-1"),
                connection=connection,
                asked=asked,
                streamed=bool(streamed),
                accepted_ns=accepted,
                begun_ns=begun,
                complete_ns=complete,
                events_ns=times,
                role=beside >= 2,
                usage=beside >= 3,
            )
        )
    return answers, connections, blocked
