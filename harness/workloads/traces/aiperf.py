"""AIPerf's `dag_jsonl`: one conversation a line, which others fork from or are spawned by.

`session_id`, `turns`: each with `messages`, `max_tokens`, `delay` ms, `forks` (children that inherit the conversation)
and `spawns` (children with a fresh context; the turn `join_at`, by default the next one, waits for them). A
conversation that no other starts is a session of ours. Of the messages only their length is used: a token for every
4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession, estimate, positive, seconds

_WHOLE_PROMPTS = "message_array_with_responses"


def recognises(head: str) -> bool:
    return '"session_id"' in head and ('"turns"' in head or '"orchestrator"' in head)


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    rows: dict[str, tuple[int, dict[str, Any]]] = {}
    started: set[str] = set()
    for line, row in file.json_lines():
        children = file.usable(line, lambda row=row: _children(row))  # type: ignore[misc]
        if children is None:
            continue
        if row["session_id"] in rows:
            file.skip(line, f"there are two sessions called {row['session_id']}")
            continue
        rows[row["session_id"]] = (line, row)
        started |= children
    for name, (line, row) in rows.items():
        if name in started:
            continue
        if row.get("rounds"):
            file.leave_out("orchestrators that repeat rounds")
            continue
        calls = file.usable(line, lambda name=name: _Dag(rows).read(name))  # type: ignore[misc]
        if calls:
            yield TraceSession(id=name, calls=calls, line=line)


def _children(row: dict[str, Any]) -> set[str]:
    """The conversations that this one starts."""
    if not isinstance(row["session_id"], str):
        raise ValueError("session_id is no text")
    spawns = [*row.get("pre_session_spawns", ()), *row.get("spawns", ())]
    for turn in row.get("turns", ()):
        spawns += [*turn.get("forks", ()), *turn.get("spawns", ())]
    return {name for spawn in spawns for name in _names(spawn)}


def _names(entry: Any) -> list[str]:
    """The conversations that one entry of `forks` or `spawns` starts."""
    if isinstance(entry, str):
        return [entry]
    return [entry["child"]] if "child" in entry else list(entry["children"])


class _Dag:
    """One session, conversation by conversation."""

    def __init__(self, rows: dict[str, tuple[int, dict[str, Any]]]) -> None:
        self._rows = rows
        self._calls: list[TraceCall] = []
        self._played: set[str] = set()

    def read(self, root: str) -> list[TraceCall]:
        self._play(root, None, (), 0)
        return self._calls

    def _play(self, name: str, history: int | None, after: tuple[int, ...], depth: int) -> list[int]:
        """Add a conversation and what it starts; returns the places of the calls that it ends with."""
        if name not in self._rows:
            raise ValueError(f"there is no usable session {name}")
        if name in self._played:
            raise ValueError(f"{name} is started twice")
        self._played.add(name)
        row = self._rows[name][1]
        for entry in row.get("pre_session_spawns", ()):
            self._start(entry, None, after, depth + 1)
        if row.get("orchestrator"):
            return [end for entry in row["spawns"] for end in self._start(entry, None, after, depth)]
        inherits = row.get("context_mode") != _WHOLE_PROMPTS
        joins: dict[int, list[int]] = {}
        for number, turn in enumerate(row["turns"]):
            waits = tuple(dict.fromkeys((*after, *joins.get(number, ()))))
            place = self._add(turn, name, number, waits, history if inherits or not number else None, depth)
            after, history = (place,), place
            for entry in turn.get("forks", ()):
                self._start(entry, place, after, depth + 1)
            for entry in turn.get("spawns", ()):
                at = entry.get("join_at", number + 1) if isinstance(entry, dict) else number + 1
                joins.setdefault(at, []).extend(self._start(entry, None, after, depth + 1))
        return list(after)

    def _start(self, entry: Any, history: int | None, after: tuple[int, ...], depth: int) -> list[int]:
        return [end for name in _names(entry) for end in self._play(name, history, after, depth)]

    def _add(
        self, turn: dict[str, Any], name: str, number: int, after: tuple[int, ...], history: int | None, depth: int
    ) -> int:
        self._calls.append(
            TraceCall(
                name=f"{name}.{number + 1}",
                after=after,
                history=history,
                input_tokens=estimate(" ".join(_said(message) for message in turn["messages"])),
                output_tokens=positive(turn["max_tokens"], "max_tokens"),
                gap_s=seconds(turn.get("delay") or 0, "delay", 1e-3),
                agent=name if depth else "main",
                depth=depth,
            )
        )
        return len(self._calls) - 1


def _said(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
