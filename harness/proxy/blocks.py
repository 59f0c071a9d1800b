"""Prompts as hashes of blocks, so that equal hashes mean: equal up to here."""

from __future__ import annotations

import hashlib

BLOCK_TOKENS = 64
_HEAD = 64  # bytes: prompts that begin with the same ones are cut alike
_MOST_HEADS = 10_000


class Blocks:
    """Cuts prompts into blocks of about BLOCK_TOKENS tokens.

    Where tokens begin is unknown, so a block is a number of bytes: that of the first prompt with the same beginning.
    Others may have more or fewer bytes a token, but only prompts cut alike can be seen to be alike. Hashes are keyed
    with `salt`: nobody can find out by them what was said.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._cuts: dict[bytes, int] = {}

    def cut(self, prompt: bytes, tokens: int) -> int:
        """Bytes in a block of a conversation that begins with this prompt of so many tokens."""
        head = prompt[:_HEAD]
        if head not in self._cuts:
            if len(self._cuts) >= _MOST_HEADS:
                del self._cuts[next(iter(self._cuts))]
            self._cuts[head] = max(1, round(BLOCK_TOKENS * len(prompt) / tokens))
        return self._cuts[head]

    def tokens(self, text: bytes, cut: int) -> int:
        """About how many tokens a text of such a conversation has."""
        return round(len(text) * BLOCK_TOKENS / cut)

    def hashes(self, text: bytes, link: bytes, tokens: int, cut: int) -> list[int | str]:
        """A hash for every block of a text of so many tokens. Each covers all before it, and what `link` stands for."""
        most, found = -(-tokens // BLOCK_TOKENS), list[int | str]()
        for place in range(0, min(len(text), most * cut), cut):
            link = hashlib.blake2b(link + text[place : place + cut], key=self._salt, digest_size=16).digest()
            found.append(link[:8].hex())
        return found
