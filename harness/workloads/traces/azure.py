"""Azure LLM inference traces of 2023 and 2024: CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`.

Every row is a session of one call.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, positive


def recognises(head: str) -> bool:
    return "ContextTokens" in head.partition("\n")[0]


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    for line, row in file.csv_rows():
        session = file.usable(line, lambda line=line, row=row: _session(line, row))  # type: ignore[misc]
        if session is not None:
            yield session


def _session(line: int, row: dict[str, str]) -> TraceSession:
    at = datetime.fromisoformat(row["TIMESTAMP"].strip())
    call = TraceCall(
        name="turn-1",
        input_tokens=positive(row["ContextTokens"], "ContextTokens"),
        output_tokens=positive(row["GeneratedTokens"], "GeneratedTokens"),
    )
    start = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return TraceSession(id=str(line), calls=[call], line=line, start_s=start)
