"""chat: people who talk to a model, one turn after the other, thinking in between."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import CountDist, DurationDist, OptionalTokenDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class Chat(Pattern):
    """A chain of turns. The system prompt is the same for all; context and questions are each user's own."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `chat`."""

        kind: str = "chat"
        turns: CountDist = Field(
            CountDist(dist="geometric", mean=3.5, max=20), description="Questions in a conversation"
        )
        system_tokens: Tokens = Field(200, ge=0, description="System prompt, the same text in every session of the run")
        context_tokens: OptionalTokenDist = Field(
            OptionalTokenDist(dist="constant", value=0),
            description="A document of the session's own, put before its first question",
        )
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=60, sigma=1.0), description="One question")
        output_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=200, sigma=0.9), description="One answer")
        think: DurationDist = Field(
            DurationDist(dist="lognormal", median=15, sigma=1.0, max=60),
            description="Time between an answer's end and the next question",
        )

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        turns = build.count(params.turns)
        opening = [build.shared("system", params.system_tokens), build.text(params.context_tokens, part=True)]
        turn = None
        for number in range(1, turns + 1):
            turn = build.call(
                f"turn-{number}",
                texts=[*opening, build.text(params.input_tokens)],
                output=params.output_tokens,
                gap=params.think if number > 1 else 0,
                history=turn,
            )
            opening = []
