"""A session as a DAG of requests: the one internal form of every workload.

A node is one model call. `after` are the nodes whose answers it needs; `history` is the one whose
conversation it continues (fork), or None for a fresh context (spawn). The prompt of a node is

    messages(history) + answer(history) + its own `texts`

Each text is one message, but for parts, which go on in the message of the text after them. The answers of `joins` are
put before the last text, in its message.

Texts are given by key and length, not by content: equal (key, tokens) means byte-equal text. Sizes, keys and
gaps are fixed by (seed, session index) alone, so they do not depend on who runs the session, or when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Text(msgspec.Struct, frozen=True, gc=False):
    """Filler of `tokens` tokens made from `key`.

    `shared` text is the same in every session of the run. A `part` goes on in the message of the text after it; equal
    parts are byte-equal wherever they stand, so their length holds nothing of the message's own overhead.
    """

    role: Role
    key: str
    tokens: int
    shared: bool = False
    part: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One model call.

    Attributes:
        name: unique in its session, e.g. `turn-2`, `map-13`.
        after: indices of the nodes whose answers it needs; empty for a root.
        need: how many of `after` must have answered before it is due (the first ones do); None: all.
        cancel_losers: once it is due, requests that only it still waited for are cancelled.
        history: index of the node whose conversation it continues, or None for a fresh context.
        joins: indices of nodes whose answers become part of this prompt (concat).
        texts: new messages of this call.
        input_tokens: planned length of the whole prompt in tokens, history included; where only some joined answers
            are waited for, that many of their mean length.
        output_tokens: wanted length of the answer in tokens.
        gap_ns: think or tool time between the last dependency's finish and this call being ready.
        agent, depth: who asks, and how many agents stand above it.
        model: model to ask, where it is not the one of the config.
    """

    name: str
    after: tuple[int, ...] = ()
    need: int | None = None
    cancel_losers: bool = False
    history: int | None = None
    joins: tuple[int, ...] = ()
    texts: tuple[Text, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    gap_ns: int = 0
    agent: str = "main"
    depth: int = 0
    model: str | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One user's unit of work. `nodes` are in topological order: `after` only points backwards."""

    index: int
    kind: str
    nodes: tuple[Node, ...]

    @property
    def id(self) -> str:
        return f"s{self.index:07d}"


class Workload(Protocol):
    """A pattern of requests. Made from its `Params`; yields each session from (seed, index) alone."""

    def session(self, seed: int, index: int) -> Session:
        """The session of this index. Pure: same arguments, same session."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A workload that knows when its sessions start: a trace."""

    def starts_s(self) -> Sequence[float] | None:
        """The start of each session in seconds, in order, the first at 0; None where the trace has no times."""
        ...


@runtime_checkable
class Noted(Protocol):
    """A workload with something to tell before a run: what was left out, capped or skipped."""

    def notes(self) -> list[str]:
        """Sentences for people, each one line."""
        ...


def check(session: Session) -> None:
    """Raise ValueError where a session is no DAG in topological order with unique names."""
    names: set[str] = set()
    for place, node in enumerate(session.nodes):
        wanted: Iterator[int] = iter((*node.after, *node.joins, *(() if node.history is None else (node.history,))))
        if any(not 0 <= index < place for index in wanted):
            raise ValueError(f"session {session.id}: node {node.name!r} depends on a node that is not before it")
        if node.need is not None and not (0 < node.need <= len(node.after) and node.history not in node.after):
            raise ValueError(f"session {session.id}: node {node.name!r} needs {node.need} of {len(node.after)} nodes")
        if node.name in names:
            raise ValueError(f"session {session.id}: two nodes are called {node.name!r}")
        names.add(node.name)
