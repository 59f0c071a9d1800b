"""Agent sessions by length alone, one JSON object a line.

`num_turns`, `input_prompt_length`, and for each turn `assistant_response_length`; between two turns
`tool_call_output_length` and `tool_call_latency` in s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, positive, seconds


def recognises(head: str) -> bool:
    return '"input_prompt_length"' in head


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    for line, row in file.json_lines():
        calls = file.usable(line, lambda row=row: _calls(row))  # type: ignore[misc]
        if calls:
            yield TraceSession(id=str(row.get("id", line)), calls=calls, line=line)


def _calls(row: dict[str, Any]) -> list[TraceCall]:
    answers, results, waits = (
        row[name] for name in ("assistant_response_length", "tool_call_output_length", "tool_call_latency")
    )
    turns = positive(row["num_turns"], "num_turns")
    if len(answers) < turns or min(len(results), len(waits)) < turns - 1:
        raise ValueError(
            f"{turns} turns, but {len(answers)} answers, {len(results)} tool results, {len(waits)} latencies"
        )
    return [
        TraceCall(
            name=f"step-{turn + 1}",
            after=(turn - 1,) if turn else (),
            history=turn - 1 if turn else None,
            input_tokens=positive(results[turn - 1] or 1 if turn else row["input_prompt_length"], "length"),
            output_tokens=positive(answers[turn], "assistant_response_length"),
            gap_s=seconds(waits[turn - 1], "tool_call_latency") if turn else 0.0,
        )
        for turn in range(turns)
    ]
