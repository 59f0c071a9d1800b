"""The KV cache: blocks of tokens, shared by hash, evicted least recently used first.

A full block is known by a hash chained over all tokens before it, so equal hash means equal prefix. A block
that no sequence uses keeps its content until it is needed for something else [vLLM: automatic prefix
caching].
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence


def chain(previous: int, tokens: Sequence[Hashable]) -> int:
    """The hash of a full block that follows the block (or the empty prefix, 0) of hash `previous`."""
    return hash((previous, *tokens))


class BlockPool:
    """`total` blocks. Blocks are plain ints; memory grows only with the blocks that were ever used."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._unused = 0  # blocks below this number have been used at least once
        self._free: OrderedDict[int, None] = OrderedDict()  # used before, no owner now; oldest first
        self._owners: dict[int, int] = {}
        self._by_hash: dict[int, int] = {}
        self._hash_of: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Blocks that can be had now, cached ones without an owner included."""
        return self.total - self._unused + len(self._free)

    @property
    def usage(self) -> float:
        """Share of the blocks that sequences hold, 0..1."""
        return 1.0 - self.free / self.total

    def find(self, hashes: Sequence[int], limit: int) -> list[int]:
        """The cached blocks of the longest known prefix, at most `limit`. Takes nothing."""
        found: list[int] = []
        for index in range(min(limit, len(hashes))):
            block = self._by_hash.get(hashes[index])
            if block is None:
                break
            found.append(block)
        return found

    def idle(self, blocks: Sequence[int]) -> int:
        """How many of these blocks have no owner, and so count as free until they are taken."""
        return sum(1 for block in blocks if block in self._free)

    def share(self, blocks: Sequence[int]) -> None:
        """One more owner for each of these cached blocks."""
        for block in blocks:
            self._free.pop(block, None)
            self._owners[block] = self._owners.get(block, 0) + 1

    def take(self, count: int) -> list[int]:
        """`count` blocks of one owner; never-used ones first, then the least recently freed, whose content is
        lost.

        Raises:
            ValueError: fewer are free.
        """
        if count > self.free:
            raise ValueError(f"{count} blocks wanted, {self.free} free")
        taken: list[int] = []
        for _ in range(count):
            if self._unused < self.total:
                block = self._unused
                self._unused += 1
            else:
                block, _nothing = self._free.popitem(last=False)
                lost = self._hash_of.pop(block, None)
                if lost is not None:
                    del self._by_hash[lost]
            self._owners[block] = 1
            taken.append(block)
        return taken

    def remember(self, block: int, block_hash: int) -> None:
        """This full block can be found by its hash from now on; the first block of a hash keeps the name."""
        if self._by_hash.setdefault(block_hash, block) == block:
            self._hash_of[block] = block_hash

    def release(self, blocks: Sequence[int]) -> None:
        """One owner fewer, the tail first, so that the tail of a prefix is also evicted first."""
        for block in reversed(blocks):
            owners = self._owners[block] - 1
            if owners:
                self._owners[block] = owners
            else:
                del self._owners[block]
                self._free[block] = None

    def forget(self) -> bool:
        """Empty the prefix cache. False, and nothing done, while a sequence holds a block [vLLM]."""
        if self._owners:
            return False
        self._by_hash.clear()
        self._hash_of.clear()
        return True
