"""Prompt text of a wanted token count: common words from a key, calibrated against the server's tokenizer.

Equal (key, tokens, calibration) gives byte-equal text, but for the nonce: the first words of a text are
unique to the run (shared texts) or to the run and session (all others), so that no cache warmed by an earlier
run can match. Within a run and a session the nonce is always the same, so prefixes that are meant to be
shared stay shared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_128
from itertools import accumulate, pairwise

import msgspec
import numpy as np

from harness.workloads.session import Text

NONCE_WORDS = 5  # 40 bits
_CACHED_TEXTS = 256
_TOLERATED = 0.1  # words at the beginning of a message may have other tokens than in its middle
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# Exactly 256, so that one byte is one word. With a leading space each is one token in the usual BPE
# vocabularies.
WORDS = tuple(
    """
    a about above across act add after again against age ago air all almost alone along already also
    always am among amount an and animal another answer any appear are area arm around art as ask at away
    baby back bad ball bank base be bear beat because become bed been before begin behind being believe
    below best better between big bird black blue board boat body book born both bottom box boy bread
    break bring brother brown build business but buy by call came can capital car care carry case cat
    catch cause cell center certain chair chance change check child choose church city class clean clear
    clock close cloud coast cold color come common company complete consider contain control cook cool
    copy corner correct cost could count country course cover create cross current cut dance dark day deal
    dear decide deep degree design did different difficult dinner direct discuss distance do doctor dog
    dollar done door double down draw dream dress drink drive drop dry during each ear early earth east
    easy eat edge effect egg eight either else end energy engine enough enter equal even evening event
    ever every exact example expect explain eye face fact fair fall family far farm fast father feel few
    field fight figure fill find fine finger finish fire first fish five floor flow fly follow food foot
    for force form forward four free friend from front full game garden general get girl give glass go
    gold good grass great green ground group grow hair half hall hand
    """.split()  # noqa: SIM905
)
_PLACES = {word: place for place, word in enumerate(WORDS)}


# What asks the server for its counts: one short message, all words in one, and five messages.
PROBES: tuple[tuple[str, ...], ...] = (("a",), (" ".join(WORDS),), ("a", "book", "door", "friend", "green"))
# Every word after a line break, so that the tokens of one are known from those of the next.
CENSUS = "a" + "".join(f"\n {word}" for word in WORDS)


class TextCalibration(msgspec.Struct, frozen=True):
    """How many tokens a prompt of n words in k messages has: `a + m k + b n`.

    Attributes:
        a: tokens of overhead a prompt (what asks for the answer).
        b: tokens a word, on average.
        m: tokens of overhead a message (role, separators).
        costs: tokens of each of `WORDS`, one digit of base 36 a word; empty where that is not known, or all are alike.
        source: `server` where it was fitted to what the server counted, else `assumed`: the overheads of ChatML.
    """

    a: float = 3.0
    b: float = 1.0
    m: float = 4.0
    costs: str = ""
    source: str = "assumed"


def fit(counted: Sequence[tuple[Sequence[str], int]], costs: str = "") -> TextCalibration:
    """Least squares through prompts (the contents of their messages) and their tokens as the server counted them.

    With `costs` a word counts as many tokens as it has. Where all prompts have the same number of messages, all
    overhead is that of the messages.

    Raises:
        ValueError: fewer than two different word counts, tokens that do not rise with words, or costs that they
            contradict.
    """
    said = [" ".join(messages).split() for messages, _ in counted]
    table = dict(zip(WORDS, _values(costs), strict=True)) if costs else {}
    sizes = [sum(table.get(word, 1) for word in words) for words in said]
    if len(set(sizes)) < 2:
        raise ValueError("a calibration needs two different word counts")
    several = len({len(messages) for messages, _ in counted}) > 1
    rows = [
        (float(several), float(len(messages)), float(size)) for (messages, _), size in zip(counted, sizes, strict=True)
    ]
    a, m, b = (float(x) for x in np.linalg.lstsq(np.array(rows), np.array([float(n) for _, n in counted]))[0])
    if b <= 0:
        raise ValueError("a calibration needs token counts that rise with the words")
    if costs and abs(b - 1) > _TOLERATED:
        raise ValueError(f"the words have {b:.2f} times the tokens that the tokenizer tells")
    if costs:
        b = sum(_values(costs)) / len(WORDS)
    return TextCalibration(a=a, b=b, m=m, costs=costs, source="server")


def costs(tokens: Sequence[int]) -> str:
    """Tokens of each word, out of the tokens of `CENSUS`. Empty where all are alike.

    Raises:
        ValueError: they cannot be told apart.
    """
    line, times = Counter(tokens).most_common(1)[0] if tokens else (0, 0)
    if times != len(WORDS):
        raise ValueError("no token stands once before each word")
    places = [place for place, token in enumerate(tokens) if token == line] + [len(tokens)]
    found = [after - before - 1 for before, after in pairwise(places)]
    if not all(0 < cost < len(_DIGITS) for cost in found):
        raise ValueError(f"words of {min(found)} to {max(found)} tokens")
    return "" if len(set(found)) == 1 else "".join(_DIGITS[cost] for cost in found)


def filler(key: str, words: int) -> str:
    """`words` words made from `key`: the same in every process, and a prefix of any longer text of it."""
    return " ".join(map(WORDS.__getitem__, shake_128(key.encode()).digest(words)))


class TextMaker:
    """Makes the texts of one run. `run_nonce` is any text that no other run has; empty for no nonce."""

    def __init__(self, calibration: TextCalibration, run_nonce: str) -> None:
        self.calibration = calibration
        self.run_nonce = run_nonce
        self._shared = lru_cache(_CACHED_TEXTS)(self._make)
        self._costs = bytes(_values(calibration.costs))
        self._least = min(self._costs, default=1)
        self._short = WORDS[self._costs.index(self._least)] if self._costs else ""

    def text(self, text: Text, session: int, *, less: float = 0.0) -> str:
        """The content of `text` in the session of that index: with the message's overhead and `less` it has its tokens.

        A part has no overhead, and knows no `less`.
        """
        if text.tokens <= 0:
            return ""
        tokens = text.tokens if text.part else text.tokens - self.calibration.m - less
        if text.shared:
            return self._shared(text.key, tokens, text.part, f"run {self.run_nonce}")
        return self._make(text.key, tokens, text.part, f"session {session} {self.run_nonce}")

    @property
    def least(self) -> float:
        """Tokens of the shortest message, overhead included."""
        return self.calibration.m + self.calibration.b

    def surplus(self, part: Text) -> float:
        """By how many tokens a part is longer than told: it has whole words."""
        b = self.calibration.b
        return 0.0 if self._costs or part.tokens <= 0 else max(1, round(part.tokens / b)) * b - part.tokens

    def trimmed(self, content: str, tokens: float) -> str:
        """`content` without its last words, which have so many tokens. Its first word stays."""
        if tokens <= 0:
            return content
        if not self._costs:
            return content.rsplit(" ", round(tokens / self.calibration.b))[0]
        head, *tail = content.rsplit(" ", -(-round(tokens) // self._least))
        left = round(tokens)
        while tail and left > 0:
            left -= self._costs[_PLACES.get(tail.pop(), 0)]
        return " ".join([head, *tail, *[self._short] * (-left // self._least)])

    def _make(self, key: str, tokens: float, part: bool, nonce: str) -> str:
        if part:  # it may be shorter than the nonce, so the nonce is in every word
            return self._filler(f"{nonce}/{key}" if self.run_nonce else key, tokens)
        if not self.run_nonce:
            return self._filler(key, tokens)
        b = self.calibration.b
        first = filler(nonce, min(NONCE_WORDS, max(1, round(tokens / b))))
        cost = sum(self._costs[_PLACES[word]] for word in first.split()) if self._costs else NONCE_WORDS * b
        return f"{first} {self._filler(key, tokens - cost)}" if tokens - cost >= b / 2 else first

    def _filler(self, key: str, tokens: float) -> str:
        """Words of so many tokens, but at least one word."""
        if not self._costs:
            return filler(key, max(1, round(tokens / self.calibration.b)))
        wanted = max(1, round(tokens))
        drawn = shake_128(key.encode()).digest(-(-wanted // self._least))
        sums = list(accumulate(drawn.translate(self._costs)))
        count = max(1, bisect_right(sums, wanted))
        spare = (wanted - sums[count - 1]) // self._least  # too few for the next word
        return " ".join([*map(WORDS.__getitem__, drawn[:count]), *[self._short] * spare])


def _values(costs: str) -> list[int]:
    return [int(digit, 36) for digit in costs]
