"""The KV cache's block pool."""

from __future__ import annotations

import pytest

from harness.sim.blocks import BlockPool, chain


def test_a_chained_hash_depends_on_everything_before() -> None:
    first, other = chain(0, ["a", "b"]), chain(0, ["a", "c"])
    assert chain(first, ["x"]) != chain(other, ["x"])
    assert chain(first, ["x"]) == chain(chain(0, ["a", "b"]), ["x"])


def test_taking_more_than_is_free_is_an_error() -> None:
    pool = BlockPool(2)
    pool.take(1)
    with pytest.raises(ValueError, match="2 blocks wanted, 1 free"):
        pool.take(2)


def test_a_freed_block_is_found_until_it_is_needed_and_the_tail_goes_first() -> None:
    pool = BlockPool(3)
    blocks = pool.take(3)
    for block, name in zip(blocks, (11, 22, 33), strict=True):
        pool.remember(block, name)
    pool.release(blocks)
    assert pool.free == 3 and pool.find([11, 22, 33], 9) == blocks
    pool.take(1)
    assert pool.find([11, 22, 33], 9) == blocks[:2]


def test_the_least_recently_freed_is_evicted_first() -> None:
    pool = BlockPool(2)
    old, new = pool.take(1), pool.take(1)
    pool.remember(old[0], 1)
    pool.remember(new[0], 2)
    pool.release(old)
    pool.release(new)
    pool.share(old)  # used again: now the other is the oldest
    pool.release(old)
    pool.take(1)
    assert pool.find([1], 1) == old and pool.find([2], 1) == []


def test_shared_blocks_are_free_only_when_the_last_owner_lets_go() -> None:
    pool = BlockPool(2)
    block = pool.take(1)
    pool.remember(block[0], 7)
    assert pool.idle(block) == 0
    pool.share(block)
    pool.release(block)
    assert pool.free == 1 and pool.usage == 0.5
    pool.release(block)
    assert pool.free == 2 and pool.idle(block) == 1


def test_the_first_block_of_a_hash_keeps_the_name() -> None:
    pool = BlockPool(2)
    first, second = pool.take(1), pool.take(1)
    pool.remember(first[0], 5)
    pool.remember(second[0], 5)
    assert pool.find([5], 1) == first
    pool.release(second)
    pool.take(1)
    assert pool.find([5], 1) == first


def test_the_cache_is_not_emptied_while_in_use() -> None:
    pool = BlockPool(2)
    block = pool.take(1)
    pool.remember(block[0], 5)
    assert not pool.forget()
    pool.release(block)
    assert pool.forget() and pool.find([5], 1) == []
