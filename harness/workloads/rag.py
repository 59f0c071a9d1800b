"""rag: a question with the documents that were found for it; some documents are found far more often than others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from harness.config.distribution import TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class Rag(Pattern):
    """One call. Documents are the same text in all sessions, in the order of their popularity's draw."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `rag`."""

        kind: str = "rag"
        docs: int = Field(5, ge=1, le=1000, description="Documents in a prompt")
        doc_tokens: Tokens = Field(400, gt=0, description="One document")
        corpus: int = Field(1000, ge=1, le=1_000_000, description="Documents there are")
        zipf: float = Field(1.1, ge=0, description="Exponent of their popularity: the n-th is found n^-zipf as often")
        input_tokens: TokenDist = Field(TokenDist(dist="constant", value=40), description="The question")
        output_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=180, sigma=0.7), description="The answer")

        @model_validator(mode="after")
        def _enough(self) -> Rag.Params:
            if self.docs > self.corpus:
                raise ValueError(f"docs {self.docs}: the corpus has only {self.corpus}")
            return self

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        found: dict[int, None] = {}  # in order, each once
        popularity = _popularity(params.corpus, params.zipf)
        while len(found) < params.docs:
            found[int(np.searchsorted(popularity, build.rng.random(), side="right"))] = None
        docs = [build.shared(f"doc-{doc + 1}", params.doc_tokens, "user", part=True) for doc in found]
        build.call("answer", texts=[*docs, build.text(params.input_tokens)], output=params.output_tokens)


@lru_cache(8)
def _popularity(corpus: int, exponent: float) -> NDArray[np.float64]:
    """Cumulative shares of the documents by Zipf's law; the last is 1."""
    sums = np.cumsum(np.arange(1, corpus + 1, dtype=np.float64) ** -exponent)
    shares: NDArray[np.float64] = sums / sums[-1]
    return shares
