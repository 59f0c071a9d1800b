"""ShareGPT: a JSON array of conversations, `{id, conversations: [{from: human | gpt | system, value}]}`.

Of the texts only their length is used: a token for every 4 bytes. There are no times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, estimate

_ANSWERS = ("gpt", "assistant", "chatgpt", "bing", "bard")


def recognises(head: str) -> bool:
    return '"conversations"' in head and '"from"' in head


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    for line, row in file.json_items():
        calls = file.usable(line, lambda row=row: _calls(row))  # type: ignore[misc]
        if calls:
            yield TraceSession(id=str(row.get("id", line)), calls=calls, line=line)
        elif calls is not None:
            file.leave_out("conversations without an answer")


def _calls(row: dict[str, Any]) -> list[TraceCall]:
    calls: list[TraceCall] = []
    asked = 0
    for message in row["conversations"]:
        tokens = estimate(message["value"])
        if message["from"] not in _ANSWERS:
            asked += tokens
        elif asked:  # an answer to nothing cannot be asked for
            last = len(calls) - 1 if calls else None
            calls.append(
                TraceCall(
                    name=f"turn-{len(calls) + 1}",
                    after=() if last is None else (last,),
                    history=last,
                    input_tokens=asked,
                    output_tokens=tokens,
                )
            )
            asked = 0
    return calls
