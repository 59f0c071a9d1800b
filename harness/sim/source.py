"""Where tokens come from: the small protocol between an answer and whatever decides when its tokens exist."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol


class Receiver(Protocol):
    """Takes tokens as they come."""

    def tokens(self, count: int, due_ns: int) -> None:
        """`count` tokens exist. `due_ns` is when they were meant to; now is a little later."""
        ...


class Ticket(Protocol):
    """One request at a source. Times are CLOCK_MONOTONIC; None means it has not happened."""

    cached_tokens: int
    preemptions: int
    scheduled_ns: int | None
    first_token_ns: int | None


class Source(Protocol):
    """Decides when tokens exist."""

    def submit(
        self,
        receiver: Receiver,
        prompt: Sequence[Hashable],
        target: int,
        spell: Callable[[int], Hashable],
        arrival_ns: int,
    ) -> Ticket:
        """Take a request. Its `target` tokens go to `receiver`, never before this call has returned."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Stop a request. Its receiver is not called again."""
        ...

    def gauges(self) -> tuple[int, int, float]:
        """Requests running, requests waiting, and the share of the KV cache in use."""
        ...

    def counters(self) -> tuple[int, int, int]:
        """Prefix cache queries and hits in tokens, and preemptions."""
        ...

    def forget_prefixes(self) -> bool:
        """Empty the prefix cache; False where it is in use."""
        ...
