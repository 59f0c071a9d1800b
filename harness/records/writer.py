"""Append records to a worker's own file, so that a kill at any moment costs at most one torn last line."""

from __future__ import annotations

import os
from pathlib import Path

from harness.clock import now_ns
from harness.errors import ResultsError
from harness.records.record import Record, encode_record
from harness.units import NS_PER_S

FLUSH_BYTES = 256 * 1024
FLUSH_NS = NS_PER_S // 2


class RecordWriter:
    """Buffers whole lines and hands them to the kernel with one `write` a flush.

    The owner's loop calls `maybe_flush(now)` often; nothing happens behind its back. After a flush the lines
    survive the death of this process (not of the machine: there is no fsync on the measured path).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.longest_write_s = 0.0
        self._lines: list[bytes] = []
        self._bytes = 0
        self._flushed_ns: int | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror}", remedy="give another --out") from error

    def add(self, record: Record | bytes) -> None:
        """Take a record, or its JSON as one line without a newline."""
        line = record if isinstance(record, bytes) else encode_record(record)
        self._lines.append(line)
        self._bytes += len(line) + 1
        self.records += 1

    def maybe_flush(self, now: int) -> None:
        """Flush when 256 KB wait, or half a second has passed since the last flush."""
        if self._flushed_ns is None:
            self._flushed_ns = now
        if self._bytes >= FLUSH_BYTES or (self._lines and now - self._flushed_ns >= FLUSH_NS):
            self.flush(now)

    def flush(self, now: int) -> None:
        """Write everything that waits. `now` is the owner's clock in ns.

        Raises:
            ResultsError: the disk refused (full, gone); lines not written stay in the buffer.
        """
        self._flushed_ns = now
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        before = now_ns()
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            raise ResultsError(
                f"cannot write {self.path}: {error.strerror}", remedy="free some space, or give another --out"
            ) from error
        self.longest_write_s = max(self.longest_write_s, (now_ns() - before) / NS_PER_S)
        self._lines.clear()
        self._bytes = 0

    def close(self) -> None:
        """Flush and close. A second call does nothing."""
        if self._fd < 0:
            return
        try:
            self.flush(now_ns())
        finally:
            os.close(self._fd)
            self._fd = -1
