"""As much of llama-cpp-python as harness calls: a token is a byte, and every answer is the alphabet, in capitals."""

from __future__ import annotations

import itertools
import string
import sys
import time
from collections.abc import Iterator
from typing import Any

END = 0
SLOW = 0.0  # seconds a token


class Llama:
    def __init__(self, model_path: str, n_ctx: int = 512, verbose: bool = True, template: bool = True, ends: int = -1):
        print(f"fake: loading {model_path}", file=sys.stderr)
        if model_path.endswith("broken.gguf"):
            raise ValueError("Failed to load model from file")
        self.model = object()
        self.metadata = {"tokenizer.chat_template": "..."} if template else {}
        self.verbose = verbose
        self.seed: int | None = None
        self.sampled: dict[str, Any] = {}
        self._n_ctx = n_ctx
        self._ends = ends
        self._cache: list[int] = []

    def n_ctx(self) -> int:
        return self._n_ctx

    def token_eos(self) -> int:
        return END

    def token_bos(self) -> int:
        return -1

    def set_seed(self, seed: int) -> None:
        self.seed = seed

    def reset(self) -> None:
        self._cache = []

    def close(self) -> None:
        print("fake: closed", file=sys.stderr)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return list(text)

    def detokenize(self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False) -> bytes:
        return bytes(token for token in tokens if token != END)

    def eval(self, tokens: list[int]) -> None:
        self._cache += tokens

    def generate(self, tokens: list[int], **sampling: Any) -> Iterator[int]:
        self.sampled = sampling
        same = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self._cache, tokens, strict=False))
        )
        del self._cache[same:]
        self.eval(tokens[same:])
        for made, letter in enumerate(itertools.cycle(string.ascii_uppercase)):
            time.sleep(SLOW)
            token = END if made == self._ends else ord(letter)
            yield token
            self.eval([token])


def llama_model_get_vocab(model: object) -> object:
    return model


def llama_vocab_is_eog(vocabulary: object, token: int) -> bool:
    return token == END


def llama_vocab_get_text(vocabulary: object, token: int) -> bytes:
    return b"<end>"
