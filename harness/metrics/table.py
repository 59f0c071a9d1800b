"""The records of a run as numpy columns: one row a record, in reading order.

A million records of 16 tokens each take 1.16 GB at the peak of being summarised. Unknown integers are `UNKNOWN`,
never 0; `seconds` and `counts` turn them into NaN. Columns (int64 unless told otherwise):

    session, node, kind, agent      codes into `names["session"]`, `names["node"]`, ... (int32)
    intended_ns, end_ns, gap_ns     always known, on the run's axis
    sent_ns, connect_ns, first_token_ns, first_output_ns, last_token_ns     may be UNKNOWN
    status                          OK, FAILED or CANCELLED (int8)
    error                           code into `names["error"]`, -1 where there is none (int32)
    kernel                          True where the kernel stamped it (bool)
    source                          index into `SOURCES`, -1 where unknown (int8)
    input_tokens, cached_tokens, output_tokens, reasoning_tokens, cache_write_tokens     may be UNKNOWN
    planned_input, planned_output   may be UNKNOWN
    attempt, depth, worker, coalesced, output_bytes, bytes_in, bytes_out
    prefill_us, decode_us           the server's own time in either, where an answer tells it; may be UNKNOWN
    session_requests                what the plan gives the session; may be UNKNOWN
    chunk_from                      n + 1 offsets: the events of row i are chunk_from[i]:chunk_from[i + 1]
    chunk_us                        us from `sent_ns` of every event that carried output
    chunk_tokens                    its tokens (int32); 0 in rows where `tokens_known` (bool) is False
    child, parent                   one dependency each: row `child` waited for row `parent`; sorted by child (int32)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.columns import CANCELLED, FAILED, OK, SOURCES, UNKNOWN, Codes, Columns
from harness.records.reader import Damage, read_blocks
from harness.records.record import Record

__all__ = [
    "CANCELLED",
    "FAILED",
    "LABELS",
    "OK",
    "SOURCES",
    "UNKNOWN",
    "Bools",
    "Bytes",
    "Codes",
    "Events",
    "Floats",
    "Ints",
    "RecordTable",
    "counts",
    "seconds",
]

LABELS = ("kind", "agent", "node", "session", "depth", "worker", "attempt")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.int8]

_BLOCK_EVENTS = 1 << 20


class Events(NamedTuple):
    """The events of rows `first` to `last` - 1: of each its row, `chunk_us` and `chunk_tokens`."""

    first: int
    last: int
    row: Codes
    us: Ints
    tokens: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Columns as told above. `n` rows; immutable."""

    n: int
    names: dict[str, list[str]]
    session: Codes
    node: Codes
    kind: Codes
    agent: Codes
    error: Codes
    status: Bytes
    source: Bytes
    kernel: Bools
    tokens_known: Bools
    intended_ns: Ints
    end_ns: Ints
    gap_ns: Ints
    attempt: Ints
    depth: Ints
    worker: Ints
    coalesced: Ints
    output_bytes: Ints
    bytes_in: Ints
    bytes_out: Ints
    sent_ns: Ints
    connect_ns: Ints
    first_token_ns: Ints
    first_output_ns: Ints
    last_token_ns: Ints
    input_tokens: Ints
    cached_tokens: Ints
    output_tokens: Ints
    reasoning_tokens: Ints
    cache_write_tokens: Ints
    prefill_us: Ints
    decode_us: Ints
    planned_input: Ints
    planned_output: Ints
    session_requests: Ints
    chunk_from: Ints
    chunk_us: Ints
    chunk_tokens: NDArray[np.int32]
    child: Codes
    parent: Codes
    damage: Damage

    @classmethod
    def read(cls, paths: Iterable[Path]) -> RecordTable:
        """The table of these files. Raises ResultsError where one cannot be read."""
        damage = Damage()
        return cls._of(read_blocks(paths, damage), damage)

    @classmethod
    def of(cls, records: Iterable[Record]) -> RecordTable:
        """The table of records in memory."""
        return cls._of([list(records)], Damage())

    @classmethod
    def _of(cls, blocks: Iterable[list[Record]], damage: Damage) -> RecordTable:
        columns = Columns()
        for block in blocks:
            columns.add(block)
        return cls(damage=damage, **columns.fields())

    @property
    def chunks(self) -> Ints:
        """Events with output, by row."""
        return np.diff(self.chunk_from)

    def where(self, labels: Mapping[str, str]) -> Bools:
        """Rows that carry all these labels (`LABELS`), e.g. `{"agent": "planner", "depth": "1"}`."""
        chosen = np.ones(self.n, dtype=np.bool_)
        for label, value in labels.items():
            if label in self.names:
                names = self.names[label]
                chosen &= getattr(self, label) == (names.index(value) if value in names else -2)
            else:
                chosen &= getattr(self, label) == (int(value) if value.isdigit() else UNKNOWN)
        return chosen

    def events(self) -> Iterator[Events]:
        """All events in blocks of whole rows, about a million each: what is computed of them one by one takes ten
        times their memory, and a run may have a hundred million."""
        first = 0
        while first < self.n:
            after = int(np.searchsorted(self.chunk_from, self.chunk_from[first] + _BLOCK_EVENTS, "right")) - 1
            last = min(max(after, first + 1), self.n)
            begin, end = self.chunk_from[first], self.chunk_from[last]
            row = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(self.chunk_from[first : last + 1]))
            yield Events(first, last, row, self.chunk_us[begin:end], self.chunk_tokens[begin:end])
            first = last


def counts(column: Ints) -> Floats:
    """A column of counts as floats; unknown is NaN."""
    values = column.astype(np.float64)
    values[column == UNKNOWN] = np.nan
    return values


def seconds(later: Ints, earlier: Ints) -> Floats:
    """later - earlier in seconds; NaN where either is unknown."""
    result = (later - earlier) * 1e-9
    result[(later == UNKNOWN) | (earlier == UNKNOWN)] = np.nan
    return np.asarray(result, dtype=np.float64)
