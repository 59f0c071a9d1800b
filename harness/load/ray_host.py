"""What runs on a node of a Ray cluster: an actor that holds one worker's process and hands on what it says and writes.

The worker is the same as everywhere, in a process of its own, so Ray has no part in what is timed.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import IO

import msgspec

from harness import __version__
from harness.clock import now_ns
from harness.load import messages
from harness.load.local import Local
from harness.load.messages import FromWorker, Ready, WorkerSpec
from harness.records.machine import StealMeter
from harness.records.wallclock import wall_clock

_CHUNK = 4 << 20  # of records in one answer


class About(msgspec.Struct, kw_only=True):
    """The node and the process, as the driver needs to know them.

    Attributes:
        node: for people: its address and the beginning of Ray's id of it.
        boot: names the running kernel.
    """

    node: str
    host: str
    boot: str | None
    cores: int
    harness_version: str
    pid: int


class Heard(msgspec.Struct, kw_only=True):
    """News of a worker: its messages, and what it has written since.

    `records` ends with a whole line. `whole` is false where more of the file is there already; messages count only
    once all records that were written before them have come. `ended` says how the process ended, after its last
    message.
    """

    lines: list[bytes]
    records: bytes
    whole: bool
    ended: str | None


def _node() -> str:
    import ray

    return f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()[:8]})"


class RayHost:
    """Calls may come from several threads. Answers can be asked for again, so a lost one does no harm."""

    def __init__(self, index: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="harness-")
        self._records = Path(self._folder.name) / "records.jsonl"
        self._file: IO[bytes] | None = None  # open for reading from when the worker is ready
        self._lines: list[bytes] = []
        self._forgotten = 0  # messages that were taken, and are not in `_lines` any more
        self._over = False
        self._news = threading.Condition()
        self._steal = StealMeter()
        self._seat = Local().seat(index, self._take)

    def about(self) -> About:
        return About(
            node=_node(),
            host=socket.gethostname(),
            boot=wall_clock().boot,
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            harness_version=__version__,
            pid=self._seat.pid,
        )

    def now_ns(self) -> int:
        """This node's monotonic clock."""
        return now_ns()

    def brief(self, spec: bytes) -> None:
        """Tell the worker its spec; its records are written here first."""
        told = msgspec.json.decode(spec, type=WorkerSpec)
        self._seat.brief(msgspec.structs.replace(told, records_path=str(self._records)))

    def start(self, at_ns: int) -> None:
        """Begin at this instant of this node's clock."""
        self._seat.start(at_ns)

    def stop(self, drain: bool) -> None:
        self._seat.stop(drain=drain)

    def hear(self, since: int, offset: int, patience_s: float) -> Heard:
        """The messages from the `since`th on and the records from byte `offset` on, as soon as there is a message."""
        with self._news:
            self._lines = self._lines[max(0, since - self._forgotten) :]
            self._forgotten = max(since, self._forgotten)
            self._news.wait_for(lambda: self._lines or self._over, patience_s)
            lines, over = list(self._lines), self._over
        records, whole = self._written(offset)
        return Heard(lines=lines, records=records, whole=whole, ended=self._seat.how_it_ended() if over else None)

    def steal_share(self) -> float | None:
        """The share of this node's CPU time that its host gave to others since we came."""
        return self._steal.share()

    def close(self) -> None:
        """End the worker, and leave nothing behind."""
        self._seat.close()
        self._folder.cleanup()
        if self._file is not None:
            self._file.close()

    def _take(self, message: FromWorker | None) -> None:
        if isinstance(message, Ready):
            # Its records lie in a file without a name from here on: nothing is left of it, however we end.
            self._file = self._records.open("rb", buffering=0)
            self._folder.cleanup()
        with self._news:
            if message is None:
                self._over = True
            else:
                self._lines.append(messages.encode(message))
            self._news.notify_all()

    def _written(self, offset: int) -> tuple[bytes, bool]:
        """Whole lines of the records file from `offset` on, and whether they are all there are."""
        if self._file is None:
            return b"", True
        data = b""
        while b"\n" not in data:  # a record may be longer than a chunk
            more = os.pread(self._file.fileno(), _CHUNK, offset + len(data))
            data += more
            if len(more) < _CHUNK:
                break
        head, newline, _ = data.rpartition(b"\n")
        return head + newline, len(more) < _CHUNK
