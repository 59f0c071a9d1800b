"""What an exchange stands for: a node of a walk, when it was due, and the attempts at it."""

from __future__ import annotations

from harness.load.exchange import Exchange
from harness.load.reading import Reading
from harness.load.walk import Walk


class Owner:
    """One request of a session, whatever number of exchanges it takes."""

    __slots__ = ("able_ns", "attempt", "before", "index", "intended_ns", "over", "reading", "walk")

    def __init__(self, walk: Walk, index: int) -> None:
        self.walk = walk
        self.index = index
        self.intended_ns = 0
        self.able_ns = 0  # from when on it can be sent, where that is later: a slot starts after those before it
        self.over = False  # its end has been counted
        self.reading: Reading | None = None
        self.attempt = 1  # how many were sent
        self.before: Exchange | None = None  # the attempt before, whose answer was to ask again

    @property
    def tokens(self) -> int:
        """Planned ones, of prompt and answer."""
        node = self.walk.session.nodes[self.index]
        return node.input_tokens + node.output_tokens
