"""Calls as a recording sees them, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.proxy.conversation import Said
from harness.proxy.grouping import Grouping, Placed

Talk = list[str]


class Tape:
    """A recording under way: `say` adds a call and gives its place. Messages and answers are given as they are."""

    def __init__(self, salt: bytes = b"salt") -> None:
        self.grouping = Grouping(salt, 0.0)
        self.placed: list[Placed] = []

    def say(self, start: float, end: float, messages: Talk, answer: str, **more: Any) -> Placed:
        """A call from `start` to `end` seconds; of 100 tokens and 10 where nothing else is told."""
        more = {"input_tokens": 100, "output_tokens": 10, **more}
        said = Said(start_s=start, end_s=end, messages=messages, answer=answer, text=answer, **more)
        self.placed.append(self.grouping.add(said))
        return self.placed[-1]

    def graph(self) -> dict[str, tuple[set[str], str | None]]:
        """Of the first session: each node, what it waits for, its history."""
        first = self.placed[0].session
        nodes = [call.node for call in self.placed if call.session == first]
        return {node.name: (set(node.after), node.history) for node in nodes}


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def new_tape() -> Callable[[bytes], Tape]:
    return Tape
