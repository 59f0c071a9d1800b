"""chat: people who talk to a model, one turn after the other, thinking in between."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.distribution import CountDist, DurationDist, OptionalTokenDist, TokenDist
from harness.config.experiment import Tokens, WorkloadConfig
from harness.units import NS_PER_S
from harness.workloads.draws import draws
from harness.workloads.session import Node, Session, Text

_DIVISOR = {"full": 1, "lab": 4, "laptop": 16}


class Chat:
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
        scale: Literal["laptop", "lab", "full"] = Field(
            "full", description="Divides all token counts: laptop by 16, lab by 4, full by 1"
        )

    def __init__(self, params: Params) -> None:
        self.params = params
        self._divisor = _DIVISOR[params.scale]

    def session(self, seed: int, index: int) -> Session:
        """The conversation of this index. Pure; see `Workload`."""
        params, rng = self.params, draws(seed, index)
        turns = int(params.turns.sample(rng))
        system = self._tokens(params.system_tokens, least=0)
        context = self._tokens(params.context_tokens.sample(rng), least=0)
        texts = [Text("system", f"{seed}.system", system, shared=True)] if system else []
        if context:
            texts.append(Text("user", f"{seed}.{index}.context", context))
        prompt, nodes = system + context, []
        for turn in range(turns):
            asked = self._tokens(params.input_tokens.sample(rng))
            answered = self._tokens(params.output_tokens.sample(rng))
            think = params.think.sample(rng)
            texts.append(Text("user", f"{seed}.{index}.{turn}", asked))
            prompt += asked
            nodes.append(
                Node(
                    name=f"turn-{turn + 1}",
                    after=(turn - 1,) if turn else (),
                    history=turn - 1 if turn else None,
                    texts=tuple(texts),
                    input_tokens=prompt,
                    output_tokens=answered,
                    gap_ns=round(think * NS_PER_S) if turn else 0,
                )
            )
            prompt += answered
            texts = []
        return Session(index=index, kind="chat", nodes=tuple(nodes))

    def _tokens(self, tokens: float, least: int = 1) -> int:
        return max(least, round(tokens / self._divisor))
