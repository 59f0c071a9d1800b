"""What the simulated model says: words of one token each, chosen by a seed, known before the first is sent.

Words are made of two syllables; a walk with a fixed stride over a prime number of them does not repeat a word
within 1,009 tokens. Token k is a pure function of the seed, so the KV cache can hash an answer without
storing it.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice, product

WORD_COUNT = 1009  # prime: every stride visits all words


def _make_words() -> tuple[str, ...]:
    syllables = [first + vowel for vowel, first in product("aeiou", "bdfghklmnprstvz")]
    return tuple(a + b for a, b in islice(product(syllables, reversed(syllables)), WORD_COUNT))


WORDS = _make_words()
_SPACED = tuple(" " + word for word in WORDS)
_ARGUMENTS_OPEN, _ARGUMENTS_CLOSE = '{"input": "', '"}'


class Part(Enum):
    """Which field of an event a token goes to."""

    CONTENT = "content"
    REASONING = "reasoning_content"
    TOOL = "tool_calls"


class Script:
    """The whole answer of one request.

    Attributes:
        length: tokens it has.
        reasoning: how many of them, from the first, are reasoning.
        finish: why it ends there: `length`, `stop` or `tool_calls`.
        tool: name of the function it calls; the answer is then a tool call and has no text.
    """

    __slots__ = ("_start", "_stride", "finish", "length", "reasoning", "tool")

    def __init__(
        self, seed: int, length: int, *, finish: str = "length", reasoning: int = 0, tool: str | None = None
    ) -> None:
        self._start = seed % WORD_COUNT
        self._stride = 1 + (seed // WORD_COUNT) % (WORD_COUNT - 1)
        self.length = length
        self.finish = finish
        self.reasoning = 0 if tool else reasoning
        self.tool = tool

    def piece(self, k: int) -> str:
        """The text of token k. The first token of an answer, or of its visible part, has no leading space."""
        if self.tool:
            return self._argument(k)
        table = WORDS if k in (0, self.reasoning) else _SPACED
        return table[(self._start + k * self._stride) % WORD_COUNT]

    def _argument(self, k: int) -> str:
        """Token 0 names the function; the rest spell one JSON object however many tokens there are."""
        if self.length <= 2:
            return "{}" if k == self.length - 1 else ""
        if k == 0:
            return ""
        if k == 1:
            return _ARGUMENTS_OPEN
        if k == self.length - 1:
            return _ARGUMENTS_CLOSE
        return _SPACED[(self._start + k * self._stride) % WORD_COUNT]

    def text(self, first: int, count: int) -> str:
        """The text of `count` tokens from `first` on."""
        if count == 1:
            return self.piece(first)
        return "".join(map(self.piece, range(first, first + count)))

    def part(self, k: int) -> Part:
        """The field token k belongs to."""
        if self.tool:
            return Part.TOOL
        return Part.REASONING if k < self.reasoning else Part.CONTENT

    def split(self, first: int, count: int) -> list[tuple[int, int]]:
        """`count` tokens from `first` as runs (first, count) that each belong to one field."""
        edge = self.reasoning
        if first < edge < first + count:
            return [(first, edge - first), (edge, first + count - edge)]
        return [(first, count)]
