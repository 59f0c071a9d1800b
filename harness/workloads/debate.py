"""debate: agents answer, read what all the others said, and answer again."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class Debate(Pattern):
    """Each round is a barrier: nobody goes on before all have spoken [Du et al., "Multiagent Debate", ICML 2024]."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `debate`."""

        kind: str = "debate"
        agents: int = Field(3, ge=2, le=100, description="Who debates")
        rounds: int = Field(2, ge=1, le=20, description="Answers of each")
        shared_tokens: Tokens = Field(500, ge=0, description="System prompt, the same in every session")
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=300, sigma=0.8), description="The question")
        next_tokens: Tokens = Field(60, gt=0, description="The request to answer again")
        output_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=300, sigma=0.6), description="One answer")

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        agents = [build.agent(f"agent-{n + 1}") for n in range(params.agents)]
        question = [build.shared("debate", params.shared_tokens), build.text(params.input_tokens)]
        said = [agent.call("round-1", texts=question, output=params.output_tokens) for agent in agents]
        for number in range(2, params.rounds + 1):
            said = [
                agent.call(
                    f"round-{number}",
                    history=mine,
                    joins=[other for other in said if other != mine],
                    texts=[agent.text(params.next_tokens)],
                    output=params.output_tokens,
                )
                for agent, mine in zip(agents, said, strict=True)
            ]
