"""Prompt text of a wanted token count: common words from a key, calibrated against the server's tokenizer.

Equal (key, tokens, calibration) gives byte-equal text, but for the nonce: the first words of a text are
unique to the run (shared texts) or to the run and session (all others), so that no cache warmed by an earlier
run can match. Within a run and a session the nonce is always the same, so prefixes that are meant to be
shared stay shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_128

import msgspec

from harness.workloads.session import Text

NONCE_WORDS = 5  # 40 bits
_CACHED_TEXTS = 256

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


class TextCalibration(msgspec.Struct, frozen=True):
    """How many tokens a message of n words has: `a + b n`.

    Attributes:
        a: tokens of overhead a message (role, separators).
        b: tokens a word.
        source: `server` where it was fitted to what the server counted, else `assumed`.
    """

    a: float = 4.0
    b: float = 1.0
    source: str = "assumed"


def fit(points: Sequence[tuple[int, int]]) -> TextCalibration:
    """Least squares through (words, tokens) as the server counted them.

    Raises:
        ValueError: fewer than two different word counts, or tokens that do not rise with words.
    """
    if len({words for words, _ in points}) < 2:
        raise ValueError("a calibration needs two different word counts")
    mean_words = sum(words for words, _ in points) / len(points)
    mean_tokens = sum(tokens for _, tokens in points) / len(points)
    spread = sum((words - mean_words) ** 2 for words, _ in points)
    b = sum((words - mean_words) * (tokens - mean_tokens) for words, tokens in points) / spread
    if b <= 0:
        raise ValueError("a calibration needs token counts that rise with the words")
    return TextCalibration(a=mean_tokens - b * mean_words, b=b, source="server")


def filler(key: str, words: int) -> str:
    """`words` words made from `key`: the same in every process, and a prefix of any longer text of it."""
    return " ".join(map(WORDS.__getitem__, shake_128(key.encode()).digest(words)))


class TextMaker:
    """Makes the texts of one run. `run_nonce` is any text that no other run has; empty for no nonce."""

    def __init__(self, calibration: TextCalibration, run_nonce: str) -> None:
        self.calibration = calibration
        self.run_nonce = run_nonce
        self._shared = lru_cache(_CACHED_TEXTS)(self._make)

    def words(self, tokens: int) -> int:
        """How many words a message of `tokens` tokens takes: at least one, unless no token is wanted."""
        return max(1, round((tokens - self.calibration.a) / self.calibration.b)) if tokens > 0 else 0

    def text(self, text: Text, session: int) -> str:
        """The content of `text` in the session of that index."""
        if text.shared:
            return self._shared(text.key, text.tokens, text.part, f"run {self.run_nonce}")
        return self._make(text.key, text.tokens, text.part, f"session {session} {self.run_nonce}")

    def _make(self, key: str, tokens: int, part: bool, nonce: str) -> str:
        if part:  # it may be shorter than the nonce, so the nonce is in every word
            words = max(1, round(tokens / self.calibration.b))
            return filler(f"{nonce}/{key}" if self.run_nonce else key, words)
        words = self.words(tokens)
        first = min(words, NONCE_WORDS) if self.run_nonce else 0
        parts = (filler(nonce, first), filler(key, words - first))
        return " ".join(part for part in parts if part)
