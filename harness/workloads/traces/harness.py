"""Our own trace: one session a line. docs/replay.md describes it field by field."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import TraceCall, TraceSession

VERSION = 1


class Request(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request. `input_tokens` is its whole prompt; `new_tokens` what it adds to its history, where known."""

    name: str
    after: list[str] = []
    history: str | None = None
    input_tokens: int
    new_tokens: int | None = None
    output_tokens: int
    gap_ms: float = 0.0
    blocks: list[int | str] = []
    agent: str = "main"
    depth: int = 0
    model: str | None = None


class Line(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One session of a trace."""

    harness_trace: int
    session: str
    start_ms: float | None = None
    block_tokens: int = 64
    nodes: list[Request]


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def recognises(head: str) -> bool:
    return '"harness_trace"' in head.partition("\n")[0]


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    for number, text in file.lines():
        session = file.usable(number, lambda number=number, text=text: _session(number, text))  # type: ignore[misc]
        if session is not None:
            yield session


def _session(number: int, text: str) -> TraceSession:
    line = _decode(text)
    if line.harness_trace != VERSION:
        raise ValueError(f"a trace of version {line.harness_trace}, where {VERSION} is known")
    if not line.nodes or line.block_tokens < 1:
        raise ValueError("a session needs nodes, and block_tokens of at least 1")
    places: dict[str, int] = {}
    calls: list[TraceCall] = []
    for node in line.nodes:
        for name in (*node.after, *([node.history] if node.history else [])):
            if name not in places:
                raise ValueError(f"{node.name} needs {name}, which does not stand before it")
        if node.name in places:
            raise ValueError(f"there are two nodes called {node.name}")
        calls.append(_call(node, places, line))
        places[node.name] = len(calls) - 1
    start = None if line.start_ms is None else line.start_ms / 1000
    return TraceSession(id=line.session, calls=calls, line=number, start_s=start)


def _call(node: Request, places: dict[str, int], line: Line) -> TraceCall:
    new = node.input_tokens
    if node.history is not None:
        before = line.nodes[places[node.history]]
        new -= before.input_tokens + before.output_tokens
    new = node.new_tokens if node.new_tokens is not None else new
    if new < 1:
        raise ValueError(f"{node.name}: input_tokens {node.input_tokens} are no more than its history; give new_tokens")
    if node.output_tokens < 1 or node.gap_ms < 0 or node.depth < 0:
        raise ValueError(f"{node.name}: output_tokens must be at least 1, gap_ms and depth not negative")
    return TraceCall(
        name=node.name,
        after=tuple(places[name] for name in node.after),
        history=None if node.history is None else places[node.history],
        input_tokens=new,
        output_tokens=node.output_tokens,
        gap_s=node.gap_ms / 1000,
        blocks=tuple(node.blocks),
        block_tokens=line.block_tokens,
        agent=node.agent,
        depth=node.depth,
    )
