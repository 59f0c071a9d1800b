"""Agent sessions in the form of kv-cache-tester's corpus (Weka): one JSON object a session, or a folder of such files.

`id`, `block_size`, `requests`: each with `t` s, `type` (`n` and `s` are calls, `subagent` holds `requests` of its own),
`in`, `out`, `hash_ids`, `api_time` and `think_time` in s. Hashes hold for one session unless `hash_id_scope` is
`global`. The blocks are the whole prompt, so every call is replayed from them. A call waits for the one before it, and
for the sub-agents that had ended by its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, positive, seconds


def recognises(head: str) -> bool:
    return '"requests"' in head and '"block_size"' in head


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    for line, row in file.json_items():
        calls = file.usable(line, lambda row=row: _Calls(row).read())  # type: ignore[misc]
        if calls:
            yield TraceSession(id=str(row["id"]), calls=calls, line=line)
        elif calls is not None:
            file.leave_out("sessions without an answer")


class _Calls:
    """The calls of one session, put together thread by thread."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._requests = row["requests"]
        self._name = str(row["id"])
        self._block = positive(row["block_size"], "block_size")
        self._scope = "" if row.get("hash_id_scope") == "global" else f"{self._name}."
        self._calls: list[TraceCall] = []
        self._ends_s: list[float] = []

    def read(self) -> list[TraceCall]:
        self._thread(self._requests, "main", 0, None, 0.0)
        return self._calls

    def _thread(self, requests: list[dict[str, Any]], agent: str, depth: int, start: int | None, zero_s: float) -> int:
        """Add the calls of one agent; returns the place of its last one, or -1."""
        last, waiting, children, number = start, [], 0, 0
        for request in requests:
            at_s = zero_s + seconds(request["t"], "t")
            if request.get("type") == "subagent":
                children += 1
                inner = request["requests"]
                shift = at_s if inner and inner[0]["t"] < request["t"] else 0.0  # its times may begin at its own start
                name = f"sub-{children}" if agent == "main" else f"{agent}.sub-{children}"
                end = self._thread(inner, name, depth + 1, last, shift)
                waiting += [end] if end >= 0 else []
            elif request.get("out"):
                number += 1
                ended = [place for place in waiting if self._ends_s[place] <= at_s]
                waiting = [place for place in waiting if place not in ended]
                after = (*(() if last is None else (last,)), *ended)
                last = self._add(request, f"step-{number}", agent, depth, after, at_s)
        return -1 if last is None or last == start else last

    def _add(
        self, request: dict[str, Any], name: str, agent: str, depth: int, after: tuple[int, ...], at_s: float
    ) -> int:
        took = seconds(request.get("api_time") or 0, "api_time")
        gap = request.get("think_time")
        if gap is None and after:
            gap = max(0.0, at_s - max(self._ends_s[place] for place in after))
        self._calls.append(
            TraceCall(
                name=name if agent == "main" else f"{agent}.{name}",
                after=after,
                input_tokens=positive(request["in"], "in"),
                output_tokens=positive(request["out"], "out"),
                gap_s=seconds(gap or 0, "think_time") if after else 0.0,
                blocks=tuple(f"{self._scope}{block}" for block in request.get("hash_ids") or ()),
                block_tokens=self._block,
                agent=agent,
                depth=depth,
            )
        )
        self._ends_s.append(at_s + took)
        return len(self._calls) - 1
