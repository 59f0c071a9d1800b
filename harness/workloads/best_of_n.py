"""best_of_n: the same question several times at once, and a judge who picks one answer."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import CountDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class BestOfN(Pattern):
    """All samples have the same prompt to the byte: the server may prefill it once."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `best_of_n`."""

        kind: str = "best_of_n"
        samples: CountDist = Field(CountDist(dist="constant", value=5), description="Answers to choose from")
        shared_tokens: Tokens = Field(1000, ge=0, description="System prompt, the same in every session")
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=500, sigma=0.8), description="The question")
        output_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=400, sigma=0.8), description="One answer")
        judge_input_tokens: Tokens = Field(100, gt=0, description="Instructions of the judge")
        judge_tokens: TokenDist = Field(TokenDist(dist="constant", value=100), description="Answer of the judge")

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        question = [build.shared("best_of_n", params.shared_tokens), build.text(params.input_tokens)]
        samples = [
            build.call(f"sample-{n + 1}", texts=question, output=params.output_tokens)
            for n in range(build.count(params.samples))
        ]
        build.call("judge", joins=samples, texts=[build.text(params.judge_input_tokens)], output=params.judge_tokens)
