"""Records -> the columns of a `RecordTable`, built block by block."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.records.record import Record

UNKNOWN = -(2**63)
OK, FAILED, CANCELLED = 0, 1, 2
SOURCES = ("server", "tokenizer", "estimate")

Codes = NDArray[np.int32]

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


_TIMINGS = {"prefill_us": "prompt_ms", "decode_us": "predicted_ms"}


class Columns:
    """Grows the columns of a `RecordTable` block by block; arrays are compact and handed to numpy without a copy."""

    def __init__(self) -> None:
        self._ints = {name: array("q") for name in (*_PLAIN, *_OPTIONAL, *_TIMINGS)}
        self._codes = {name: array("i") for name in (*_NAMED, "error")}
        self._known: dict[str, dict[str, int]] = {name: {} for name in (*_NAMED, "error")}
        self._small = {name: array("b") for name in ("status", "source", "kernel", "tokens_known")}
        self._chunk_count = array("q")
        self._chunk_us = array("q")  # an answer may take hours, and the clock of an old file may run backwards
        self._chunk_tokens = array("i")  # an answer that is not streamed is one event
        self._ids = array("q")  # of all rows, hashed: a million strings would take 200 MB
        self._edges = (array("i"), array("q"))  # a row, and the hashed id of one that it waited for

    def add(self, records: list[Record]) -> None:
        if not records:
            return
        for name in _PLAIN:
            self._ints[name].extend(map(attrgetter(name), records))
        for name in _OPTIONAL:
            self._ints[name].extend(_or_unknown(list(map(attrgetter(name), records))))
        for name in _NAMED:
            self._codes[name].extend(_coded(list(map(attrgetter(name), records)), self._known[name]))
        errors = self._known["error"]
        self._codes["error"].extend(
            [-1 if r.error is None else errors.setdefault(r.error, len(errors)) for r in records]
        )
        self._small["status"].extend([_STATUS[r.status] for r in records])
        self._small["source"].extend([_SOURCE[r.tokens_source] for r in records])
        self._small["kernel"].extend([r.clock == "kernel" for r in records])
        self._timings(records)
        self._events(records)
        self._note_edges(records)

    def _timings(self, records: list[Record]) -> None:
        tellers = [record.server.get("timings") if record.server else None for record in records]
        for name, key in _TIMINGS.items():
            told = [teller.get(key) if isinstance(teller, dict) else None for teller in tellers] if any(tellers) else []
            us = [round(ms * 1000) if isinstance(ms, int | float) else UNKNOWN for ms in told]
            self._ints[name].extend(us or repeat(UNKNOWN, len(records)))

    def _events(self, records: list[Record]) -> None:
        self._chunk_count.extend([len(r.chunk_us) for r in records])
        self._chunk_us.extend(chain.from_iterable(r.chunk_us for r in records))
        for record in records:
            tokens = record.chunk_tokens
            exact = tokens is not None and len(tokens) == len(record.chunk_us)
            self._small["tokens_known"].append(exact)
            if exact and tokens is not None:
                self._chunk_tokens.extend(tokens)
            else:
                self._chunk_tokens.frombytes(bytes(self._chunk_tokens.itemsize * len(record.chunk_us)))

    def _note_edges(self, records: list[Record]) -> None:
        """Dependencies, by hashed ids: a parent may stand in a file that is not read yet."""
        child, wanted = self._edges
        first = len(self._ids)
        self._ids.extend([hash(record.id) for record in records])
        for row, record in enumerate(records, first):
            for needed in record.after:
                child.append(row)
                wanted.append(hash(needed))

    def fields(self) -> dict[str, Any]:
        """The fields of a `RecordTable` but its damage. The builder is empty then."""
        child, parent = self._dependencies()
        chunk_from = np.zeros(len(self._chunk_count) + 1, dtype=np.int64)
        np.cumsum(_view(self._chunk_count, np.int64), out=chunk_from[1:])
        found: dict[str, Any] = {name: _column(self._ints, name, np.int64) for name in list(self._ints)}
        found |= {name: _column(self._codes, name, np.int32) for name in list(self._codes)}
        return found | {
            "n": len(self._chunk_count),
            "names": {name: list(known) for name, known in self._known.items()},
            "status": _view(self._small["status"], np.int8),
            "source": _view(self._small["source"], np.int8),
            "kernel": _view(self._small["kernel"], np.bool_),
            "tokens_known": _view(self._small["tokens_known"], np.bool_),
            "chunk_from": chunk_from,
            "chunk_us": _view(self._chunk_us, np.int64),
            "chunk_tokens": _view(self._chunk_tokens, np.int32),
            "child": child,
            "parent": parent,
        }

    def _dependencies(self) -> tuple[Codes, Codes]:
        """Child and parent rows. Two of a million ids share a 64-bit hash once in 37 million runs."""
        child, wanted, ids = (_view(values, f"i{values.itemsize}") for values in (*self._edges, self._ids))
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
