"""map_reduce: one question to many pieces at once, and one call that reads all the answers."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import CountDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class MapReduce(Pattern):
    """The slowest of `width` calls decides when the last one may begin."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `map_reduce`."""

        kind: str = "map_reduce"
        width: CountDist = Field(CountDist(dist="constant", value=8), description="Pieces that are asked about at once")
        shared_tokens: Tokens = Field(
            2000, ge=0, description="Instructions of the map calls, the same in every session"
        )
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=1000, sigma=0.8), description="One piece")
        output_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=200, sigma=0.8), description="Answer about one piece"
        )
        reduce_tokens: TokenDist = Field(
            TokenDist(dist="constant", value=400), description="Answer made of all answers"
        )

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        shared = build.shared("map", params.shared_tokens)
        maps = [
            build.call(f"map-{n + 1}", texts=[shared, build.text(params.input_tokens)], output=params.output_tokens)
            for n in range(build.count(params.width))
        ]
        build.call("reduce", joins=maps, output=params.reduce_tokens)
