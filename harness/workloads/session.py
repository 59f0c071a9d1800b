"""A session as a DAG of requests: the one internal form of every workload.

A node is one model call. `after` are the nodes whose answers it needs; `history` is the one whose
conversation it continues (fork), or None for a fresh context (spawn). The prompt of a node is

    messages(history) + answer(history) + its own `texts` (each one message; answers of `joins` are put before
    the last)

Texts are given by key and length, not by content: equal (key, tokens) means byte-equal text. Sizes, keys and
gaps are fixed by (seed, session index) alone, so they do not depend on who runs the session, or when.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Text(msgspec.Struct, frozen=True):
    """Filler of `tokens` tokens made from `key`. `shared` text is the same in every session of the run."""

    role: Role
    key: str
    tokens: int
    shared: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One model call.

    Attributes:
        name: unique in its session, e.g. `turn-2`, `map-13`.
        after: indices of the nodes whose answers it needs; empty for a root.
        history: index of the node whose conversation it continues, or None for a fresh context.
        joins: indices of nodes whose answers become part of this prompt (concat).
        texts: new messages of this call.
        input_tokens: planned length of the whole prompt in tokens, history included.
        output_tokens: wanted length of the answer in tokens.
        gap_ns: think or tool time between the last dependency's finish and this call being ready.
    """

    name: str
    after: tuple[int, ...] = ()
    history: int | None = None
    joins: tuple[int, ...] = ()
    texts: tuple[Text, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    gap_ns: int = 0
    agent: str = "main"
    depth: int = 0
    model: str | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
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


def check(session: Session) -> None:
    """Raise ValueError where a session is no DAG in topological order with unique names."""
    names: set[str] = set()
    for place, node in enumerate(session.nodes):
        wanted: Iterator[int] = iter((*node.after, *node.joins, *(() if node.history is None else (node.history,))))
        if any(not 0 <= index < place for index in wanted):
            raise ValueError(f"session {session.id}: node {node.name!r} depends on a node that is not before it")
        if node.name in names:
            raise ValueError(f"session {session.id}: two nodes are called {node.name!r}")
        names.add(node.name)
