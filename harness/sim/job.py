"""A job: one request as the engine sees it, a sequence of tokens that wants more."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from harness.sim.blocks import chain


class Job:
    """One sequence. Times are the driver's nanoseconds; None means it has not happened.

    Attributes:
        owner: whoever the tokens are for; the engine never looks at it.
        spell: token k of the answer, known beforehand, so that an answer can be found in the prefix cache
            later.
        prompt_tokens, target: lengths of the prompt and of the answer.
        produced: tokens of the answer so far.
        computed: tokens whose keys and values are in the cache.
        cached_tokens: prompt tokens found in the prefix cache when it was first admitted.
        hashes: of every full block of its tokens; `known` of them can be found in the pool.
    """

    __slots__ = (
        "_unhashed",
        "arrival_ns",
        "blocks",
        "cached_tokens",
        "computed",
        "first_token_ns",
        "hashes",
        "known",
        "live",
        "owner",
        "preemptions",
        "produced",
        "prompt_tokens",
        "scheduled_ns",
        "spell",
        "target",
    )

    def __init__(
        self,
        prompt: Sequence[Hashable],
        target: int,
        *,
        spell: Callable[[int], Hashable],
        owner: Any = None,
        arrival_ns: int = 0,
    ) -> None:
        self.owner = owner
        self.spell = spell
        self.prompt_tokens = len(prompt)
        self.target = target
        self.produced = 0
        self.computed = 0
        self.cached_tokens = 0
        self.preemptions = 0
        self.arrival_ns = arrival_ns
        self.scheduled_ns: int | None = None
        self.first_token_ns: int | None = None
        self.blocks: list[int] = []
        self.hashes: list[int] = []
        self.known = 0
        self.live = True
        self._unhashed: list[Hashable] = list(prompt)

    @property
    def length(self) -> int:
        """Tokens known: the prompt and what was produced."""
        return self.prompt_tokens + self.produced

    def hash_blocks(self, size: int) -> None:
        """Turn every full block of `size` tokens among the tokens not hashed yet into a hash."""
        tokens = self._unhashed
        full = len(tokens) - len(tokens) % size
        previous = self.hashes[-1] if self.hashes else 0
        for start in range(0, full, size):
            previous = chain(previous, tokens[start : start + size])
            self.hashes.append(previous)
        del tokens[:full]

    def produce(self, count: int, size: int) -> None:
        """`count` more tokens of the answer exist. `size` is the block size, or 0 where nothing is hashed."""
        if size:
            tokens, spell = self._unhashed, self.spell
            for k in range(self.produced, self.produced + count):
                tokens.append(spell(k))
            if len(tokens) >= size:
                self.hash_blocks(size)
        self.produced += count
