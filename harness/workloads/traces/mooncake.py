"""Mooncake traces: one JSON object a line [Qin et al., "Mooncake", FAST 2025].

`timestamp` ms, `input_length`, `output_length`, `hash_ids` of 512 tokens each, equal in all sessions. Rows with the
same `session_id` are the turns of one conversation: each tells what it adds, and `delay` is the pause before it in ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, positive, seconds

_BLOCK = 512


def recognises(head: str) -> bool:
    return '"input_length"' in head and '"output_length"' in head


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    conversations: dict[str, TraceSession] = {}
    for line, row in file.json_lines():
        call = file.usable(line, lambda row=row: _call(row))  # type: ignore[misc]
        if call is None:
            continue
        start = None if row.get("timestamp") is None else seconds(row["timestamp"], "timestamp", 1e-3)
        name = row.get("session_id")
        if name is None:
            yield TraceSession(id=str(line), calls=[call], line=line, start_s=start)
        elif (known := conversations.get(str(name))) is None:
            conversations[str(name)] = TraceSession(id=str(name), calls=[call], line=line, start_s=start)
        else:
            turns = len(known.calls)
            call.name, call.after, call.history = f"turn-{turns + 1}", (turns - 1,), turns - 1
            known.calls.append(call)
    yield from conversations.values()


def _call(row: dict[str, Any]) -> TraceCall:
    if row.get("timestamp") is not None:
        seconds(row["timestamp"], "timestamp")
    return TraceCall(
        name="turn-1",
        input_tokens=positive(row["input_length"], "input_length"),
        output_tokens=positive(row["output_length"], "output_length"),
        gap_s=seconds(row.get("delay") or 0, "delay", 1e-3),
        blocks=tuple(row.get("hash_ids") or ()),
        block_tokens=_BLOCK,
    )
