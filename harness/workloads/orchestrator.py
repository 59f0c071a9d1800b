"""orchestrator: plan, hand the work to sub-agents with fresh contexts, put together what they bring back."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from harness.config.distribution import CountDist, TokenDist
from harness.config.section import Share, Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern
from harness.workloads.toolloop import ToolParams, tool_loop


class Orchestrator(Pattern):
    """A tree of agents: inner ones orchestrate, those at the bottom use tools."""

    class Params(ToolParams):
        """Keys of `workload:` for kind `orchestrator`."""

        kind: str = "orchestrator"
        rounds: CountDist = Field(
            CountDist(dist="choice", values=[1, 2, 3]), description="How often the first orchestrator plans"
        )
        children: CountDist = Field(CountDist(dist="constant", value=4), description="Sub-agents of an orchestrator")
        depth: int = Field(1, ge=1, le=8, description="Levels of sub-agents; all but the lowest orchestrate again")
        steps: CountDist = Field(CountDist(dist="constant", value=11), description="Model calls of a sub-agent")
        join: Literal["all", "quorum", "first"] = Field(
            "all", description="How many sub-agents are waited for: all, a `quorum`, or the first"
        )
        quorum: Share = Field(0.5, gt=0, le=1, description="Share of sub-agents that is enough, with join: quorum")
        cancel_losers: bool = Field(True, description="Cancel sub-agents that are not waited for any more")
        child_model: str | None = Field(None, description="Model of the sub-agents; default: that of the first")
        shared_tokens: Tokens = Field(4000, ge=0, description="System prompt and tools, the same for all agents")
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=400, sigma=1.2), description="A task")
        plan_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=300, sigma=0.5), description="A plan")
        synthesis_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=400, sigma=0.5), description="What is made of the sub-agents' answers"
        )

    params: Params

    def build(self, build: SessionBuilder) -> None:
        last = None
        for number in range(1, build.count(self.params.rounds) + 1):
            last = self._round(build, self.params.depth, f"round-{number}.", history=last)

    def _round(
        self,
        build: SessionBuilder,
        depth: int,
        stage: str = "",
        history: int | None = None,
        after: tuple[int, ...] = (),
    ) -> int:
        """Plan, delegate, join, synthesise. `depth` levels of agents are below. Returns the synthesis."""
        params = self.params
        task = build.text(params.input_tokens)
        opening = [build.shared("orchestrator", params.shared_tokens), task] if history is None else [task]
        plan = build.call(f"{stage}plan", history=history, after=after, texts=opening, output=params.plan_tokens)
        workers = [
            build.agent(f"worker-{n + 1}", stage=stage, model=params.child_model)
            for n in range(build.count(params.children))
        ]
        brought = [self._work(worker, depth - 1, plan) for worker in workers]
        return build.call(
            f"{stage}synthesis",
            history=plan,
            joins=brought,
            need=self._need(len(brought)),
            cancel_losers=params.cancel_losers and params.join != "all",
            output=params.synthesis_tokens,
        )

    def _work(self, build: SessionBuilder, depth: int, plan: int) -> int:
        """One sub-agent: an orchestrator where more levels are below it, else a tool loop. Returns its last call."""
        if depth:
            return self._round(build, depth, after=(plan,))
        opening = [build.shared("orchestrator", self.params.shared_tokens), build.text(self.params.input_tokens)]
        return tool_loop(build, self.params, steps=build.count(self.params.steps), opening=opening, after=[plan])

    def _need(self, children: int) -> int | None:
        """How many of the children are waited for; None: all."""
        share = {"all": 1.0, "quorum": self.params.quorum, "first": 0.0}[self.params.join]
        need = max(1, math.ceil(share * children - 1e-9))
        return need if need < children else None
