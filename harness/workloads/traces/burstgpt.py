"""BurstGPT: CSV with `Timestamp` s, `Model`, `Request tokens`, `Response tokens`, ... [Wang et al., arXiv 2401.17644].

Rows with the same `Session ID` are one conversation, in order; `Elapsed time` is how long an answer took. A request
that is longer than all before it continues the conversation, a shorter one begins afresh.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.infer import TimedCall, follow
from harness.workloads.traces.trace import TraceSession, positive, seconds


def recognises(head: str) -> bool:
    first = head.partition("\n")[0]
    return "Request tokens" in first and "Response tokens" in first


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    conversations: dict[str, list[TimedCall]] = {}
    lines: dict[str, int] = {}
    for line, row in file.csv_rows():
        if row.get("Response tokens", "").strip() in ("0", "0.0"):
            file.leave_out("requests that got no answer")
            continue
        call = file.usable(line, lambda row=row: _call(row))  # type: ignore[misc]
        if call is None:
            continue
        name = row.get("Session ID", "").strip() or f"line {line}"
        conversations.setdefault(name, []).append(call)
        lines.setdefault(name, line)
    for name, calls in conversations.items():
        calls.sort(key=lambda call: call.start_s)
        yield TraceSession(id=name, calls=follow(calls), line=lines[name], start_s=calls[0].start_s)


def _call(row: dict[str, str]) -> TimedCall:
    start = seconds(row["Timestamp"], "Timestamp")
    took = seconds(row.get("Elapsed time") or "0", "Elapsed time")
    return TimedCall(
        start_s=start,
        end_s=start + took,
        input_tokens=positive(row["Request tokens"], "Request tokens"),
        output_tokens=positive(row["Response tokens"], "Response tokens"),
    )
