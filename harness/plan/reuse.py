"""What an infinite prefix cache would hold of each prompt of a plan: the ideal that a real cache is measured by.

A prompt is a row of texts and answers. Its longest beginning that stood at the beginning of an earlier prompt is held:
of the same session in the order of its requests, or of any earlier session where all of it is shared text. A
conversation that goes on holds the whole of what was said, the answer included. Where a prompt leaves what is held with
a message of the same role as another, the opening of that message is held as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import NamedTuple

from harness.plan.plan import Plan
from harness.workloads.session import Node, Session

LOOKED_AT = 5_000  # sessions, or
_OPENING = 4  # tokens with which every message of a role begins, as `TextCalibration` counts them
_NODES = 50_000  # requests: enough for a share, and a second's work


def planned_reuse(plan: Plan, most: int = LOOKED_AT) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Session id, and by node the share of its prompt that is held. The first `most` sessions, in their order; fewer
    where they are large."""
    cache, nodes = InfiniteCache(), 0
    indices = range(min(most, plan.sessions)) if plan.sessions is not None else range(most)
    for index in indices:
        session = plan.session(index)
        yield session.id, cache.play(session)
        nodes += len(session.nodes)
        if nodes > _NODES:
            break


class InfiniteCache:
    """Never full and never late: whatever was asked before is held."""

    def __init__(self) -> None:
        self._shared: set[int] = set()  # beginnings of prompts that are made of shared texts alone
        self._answers = count()

    def play(self, session: Session) -> dict[str, float]:
        """Ask all requests of a session. By node, the share of its prompt that was held."""
        own: set[int] = set()
        answers = {place: (f"answer {next(self._answers)}", node.output_tokens) for place, node in _answered(session)}
        ends: list[int] = []  # of each prompt, its answer included
        shares: dict[str, float] = {}
        for place, node in enumerate(session.nodes):
            so_far, held = 0, 0
            if node.history is not None:
                before = session.nodes[node.history]
                so_far, held = ends[node.history], before.input_tokens + before.output_tokens
            held, end = self._ask(node, answers, own, so_far, held)
            ends.append(hash((end, answers.get(place))))
            shares[node.name] = min(1.0, held / node.input_tokens) if node.input_tokens else 0.0
        return shares

    def _ask(
        self, node: Node, answers: dict[int, tuple[str, int]], own: set[int], so_far: int, held: int
    ) -> tuple[int, int]:
        """The tokens held of a prompt that goes on from `so_far`, and where it ends."""
        shared, known = node.history is None, True
        for segment in _segments(node, answers):
            opening = hash((so_far, segment.opens))
            met = self._shared if shared else own
            begun = known and opening in met
            met.add(opening)
            so_far = hash((so_far, segment.key, segment.tokens))
            shared = shared and segment.shared
            met = self._shared if shared else own
            known = known and so_far in met
            met.add(so_far)
            if known:
                held += segment.tokens
            elif begun and segment.opens:
                held += min(_OPENING, segment.tokens)
        return held, so_far


class _Segment(NamedTuple):
    """A text or an answer in a prompt. `shared`: other sessions have it too. `opens`: the role of the message that
    begins with it; empty where it goes on in one."""

    key: str
    tokens: int
    shared: bool
    opens: str


def _answered(session: Session) -> Iterator[tuple[int, Node]]:
    """Nodes whose answers stand in other prompts."""
    wanted = {node.history for node in session.nodes} | {join for node in session.nodes for join in node.joins}
    return ((place, node) for place, node in enumerate(session.nodes) if place in wanted)


def _segments(node: Node, answers: dict[int, tuple[str, int]]) -> Iterator[_Segment]:
    """In the order of the prompt: joined answers stand before the last text, in its message."""
    inside = False
    for text in node.texts[:-1]:
        yield _Segment(text.key, text.tokens, text.shared, "" if inside else text.role)
        inside = text.part
    last = node.texts[-1] if node.texts else None
    role = "user" if last is None else last.role
    for join in node.joins:
        yield _Segment(*answers[join], False, "" if inside else role)
        inside = True
    if last is not None:
        yield _Segment(last.key, last.tokens, last.shared, "" if inside else role)
