"""The records of a run as Parquet, for DuckDB, pandas, Polars: one row a request, columns as in `records-*.jsonl`.

harness report RUN --format parquet -O run.parquet

`run` and `name` are added in front, so that many runs can be read as one table; `server`, which is free in form, is
JSON text. Phases are the final ones.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from harness.records.reader import read_blocks
from harness.records.record import Record

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_TEXT = pa.string()
_NAMES = pa.dictionary(pa.int32(), pa.string())
_SPECIAL = {
    "after": pa.list_(_TEXT),
    "chunk_us": pa.list_(pa.int64()),
    "chunk_tokens": pa.list_(pa.int32()),
    "schema": pa.int32(),
    "http_status": pa.int32(),
}
_TEXTS = ("id", "error_detail", "server")
_DICTIONARIES = (
    *("session", "node", "agent", "kind", "clock", "status"),
    *("error", "finish_reason", "tokens_source", "phase"),
)


class ParquetReport:
    """For questions that no report answers."""

    name = "parquet"
    extension = "parquet"

    def render(self, analysis: Analysis) -> bytes:
        """The whole file, one row group a megabyte of records. Without records on disk it has no rows."""
        schema = _schema()
        out = io.BytesIO()
        run = analysis.summary.run
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for block in read_blocks(analysis.folder.records() if analysis.folder is not None else ()):
                writer.write_table(pa.Table.from_pylist([_row(one, run.id, run.name) for one in block], schema))
        return out.getvalue()


def _schema() -> Any:
    fields = [("run", _NAMES), ("name", _NAMES)]
    return pa.schema(fields + [(name, _type(name)) for name in Record.__struct_fields__])


def _type(name: str) -> Any:
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name in _TEXTS:
        return _TEXT
    return _NAMES if name in _DICTIONARIES else pa.int64()


def _row(record: Record, run: str, name: str) -> dict[str, Any]:
    told = msgspec.structs.asdict(record)
    server = told["server"]
    return {
        "run": run,
        "name": name,
        **told,
        "server": None if server is None else msgspec.json.encode(server).decode(),
    }
