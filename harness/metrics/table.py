"""The records of a run as numpy columns: one row a record, in reading order.

A million records take a few hundred MB. Unknown integers are `UNKNOWN`, never 0; `seconds` and `counts` turn
them into NaN. Columns (int64 unless told otherwise):

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
    chunk_us                        us from `sent_ns` of every event that carried output (uint32)
    chunk_tokens                    its tokens (uint16); 0 in rows where `tokens_known` (bool) is False
    child, parent                   one dependency each: row `child` waited for row `parent`; sorted by child (int32)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from harness.records.reader import Damage, read_blocks
from harness.records.record import Record

LABELS = ("kind", "agent", "node", "session", "depth", "worker", "attempt")
UNKNOWN = -(2**63)
OK, FAILED, CANCELLED = 0, 1, 2
SOURCES = ("server", "tokenizer", "estimate")

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.int8]

_STATUS = {"ok": OK, "failed": FAILED, "cancelled": CANCELLED}
_SOURCE = {"server": 0, "tokenizer": 1, "estimate": 2, None: -1}
_NAMED = ("session", "node", "kind", "agent")
_PLAIN = (
    *("intended_ns", "end_ns", "gap_ns", "attempt", "depth", "worker"),
    *("coalesced", "output_bytes", "bytes_in", "bytes_out"),
)
_OPTIONAL = (
    *("sent_ns", "connect_ns", "first_token_ns", "first_output_ns", "last_token_ns"),
    *(
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cache_write_tokens",
        "planned_input",
        "planned_output",
    ),
    "session_requests",
)


_BLOCK_EVENTS = 1 << 20
_TIMINGS = {"prefill_us": "prompt_ms", "decode_us": "predicted_ms"}


class Events(NamedTuple):
    """The events of rows `first` to `last` - 1: of each its row, `chunk_us` and `chunk_tokens`."""

    first: int
    last: int
    row: Codes
    us: NDArray[np.uint32]
    tokens: NDArray[np.uint16]


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
    chunk_us: NDArray[np.uint32]
    chunk_tokens: NDArray[np.uint16]
    child: Codes
    parent: Codes
    damage: Damage

    @classmethod
    def read(cls, paths: Iterable[Path]) -> RecordTable:
        """The table of these files. Raises ResultsError where one cannot be read."""
        damage = Damage()
        return _build(read_blocks(paths, damage), damage)

    @classmethod
    def of(cls, records: Iterable[Record]) -> RecordTable:
        """The table of records in memory."""
        return _build(iter([list(records)]), Damage())

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


class _Columns:
    """Grows the columns block by block; arrays are compact and handed to numpy without a copy."""

    def __init__(self) -> None:
        self.ints = {name: array("q") for name in (*_PLAIN, *_OPTIONAL, *_TIMINGS)}
        self.codes = {name: array("i") for name in (*_NAMED, "error")}
        self.known: dict[str, dict[str, int]] = {name: {} for name in (*_NAMED, "error")}
        self.small = {name: array("b") for name in ("status", "source", "kernel", "tokens_known")}
        self.chunk_count = array("q")
        self.chunk_us = array("I")
        self.chunk_tokens = array("H")
        self.ids = array("q")  # of all rows, hashed: a million strings would take 200 MB
        self.edges = (array("i"), array("q"))  # a row, and the hashed id of one that it waited for

    def add(self, records: list[Record]) -> None:
        if not records:
            return
        for name in _PLAIN:
            self.ints[name].extend(map(attrgetter(name), records))
        for name in _OPTIONAL:
            self.ints[name].extend(_or_unknown(list(map(attrgetter(name), records))))
        for name in _NAMED:
            self.codes[name].extend(_coded(list(map(attrgetter(name), records)), self.known[name]))
        errors = self.known["error"]
        self.codes["error"].extend(
            [-1 if r.error is None else errors.setdefault(r.error, len(errors)) for r in records]
        )
        self.small["status"].extend([_STATUS[r.status] for r in records])
        self.small["source"].extend([_SOURCE[r.tokens_source] for r in records])
        self.small["kernel"].extend([r.clock == "kernel" for r in records])
        self._timings(records)
        self._events(records)
        self._edges(records)

    def _timings(self, records: list[Record]) -> None:
        tellers = [record.server.get("timings") if record.server else None for record in records]
        for name, key in _TIMINGS.items():
            told = [teller.get(key) if isinstance(teller, dict) else None for teller in tellers] if any(tellers) else []
            us = [round(ms * 1000) if isinstance(ms, int | float) else UNKNOWN for ms in told]
            self.ints[name].extend(us or repeat(UNKNOWN, len(records)))

    def _events(self, records: list[Record]) -> None:
        self.chunk_count.extend([len(r.chunk_us) for r in records])
        self.chunk_us.extend(chain.from_iterable(r.chunk_us for r in records))
        for record in records:
            tokens = record.chunk_tokens
            exact = tokens is not None and len(tokens) == len(record.chunk_us)
            self.small["tokens_known"].append(exact)
            if exact and tokens is not None:
                self.chunk_tokens.extend(tokens)
            else:
                self.chunk_tokens.frombytes(bytes(2 * len(record.chunk_us)))

    def _edges(self, records: list[Record]) -> None:
        """Dependencies, by hashed ids: a parent may stand in a file that is not read yet."""
        child, wanted = self.edges
        first = len(self.ids)
        self.ids.extend([hash(record.id) for record in records])
        for row, record in enumerate(records, first):
            for needed in record.after:
                child.append(row)
                wanted.append(hash(needed))

    def dependencies(self) -> tuple[Codes, Codes]:
        """Child and parent rows. Two of a million ids share a 64-bit hash once in 37 million runs."""
        child, wanted, ids = (_view(values, f"i{values.itemsize}") for values in (*self.edges, self.ids))
        if not len(wanted):
            return child, child
        order = np.argsort(ids, kind="stable")
        place = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
        parent = order[place].astype(np.int32)
        found = ids[parent] == wanted
        return child[found], parent[found]


def _or_unknown(values: list[int | None]) -> Iterable[int]:
    """The values, UNKNOWN in the place of None. Most columns hold no None, or nothing else."""
    if None not in values:
        return cast("list[int]", values)
    if values.count(None) == len(values):
        return repeat(UNKNOWN, len(values))
    return [UNKNOWN if value is None else value for value in values]


def _coded(values: list[str], known: dict[str, int]) -> Iterable[int]:
    """A code for each name; `known` grows."""
    if values.count(values[0]) == len(values):
        return repeat(known.setdefault(values[0], len(known)), len(values))
    return [known.setdefault(value, len(known)) for value in values]


def _view(values: array[Any], dtype: Any) -> NDArray[Any]:
    return np.frombuffer(values, dtype=dtype) if len(values) else np.empty(0, dtype=dtype)


def _column(columns: dict[str, array[Any]], name: str, dtype: Any) -> NDArray[Any]:
    """A column, taken out of `columns`. One that is the same everywhere, as half of them are, takes no memory."""
    values = _view(columns.pop(name), dtype)
    if len(values) and (values == values[0]).all():
        return np.broadcast_to(values[:1].copy(), len(values))
    return values


def _build(blocks: Iterator[list[Record]], damage: Damage) -> RecordTable:
    columns = _Columns()
    for block in blocks:
        columns.add(block)
    child, parent = columns.dependencies()
    chunk_from = np.zeros(len(columns.chunk_count) + 1, dtype=np.int64)
    np.cumsum(_view(columns.chunk_count, np.int64), out=chunk_from[1:])
    small = columns.small
    fields: dict[str, Any] = {name: _column(columns.ints, name, np.int64) for name in list(columns.ints)}
    fields |= {name: _column(columns.codes, name, np.int32) for name in list(columns.codes)}
    return RecordTable(
        n=len(columns.chunk_count),
        names={name: list(known) for name, known in columns.known.items()},
        status=_view(small["status"], np.int8),
        source=_view(small["source"], np.int8),
        kernel=_view(small["kernel"], np.bool_),
        tokens_known=_view(small["tokens_known"], np.bool_),
        chunk_from=chunk_from,
        chunk_us=_view(columns.chunk_us, np.uint32),
        chunk_tokens=_view(columns.chunk_tokens, np.uint16),
        child=child,
        parent=parent,
        damage=damage,
        **fields,
    )
