"""plan_execute: make a plan, do its steps one by one, plan again where a step went wrong, answer."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import CountDist, DurationDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Share, Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class PlanExecute(Pattern):
    """One conversation; every step is a call of its own and ends in a tool."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `plan_execute`."""

        kind: str = "plan_execute"
        steps: CountDist = Field(CountDist(dist="constant", value=5), description="Steps of the plan")
        replan: Share = Field(0.2, ge=0, le=1, description="Share of steps after which the plan is made again")
        shared_tokens: Tokens = Field(2000, ge=0, description="System prompt and tools, the same in every session")
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=200, sigma=0.8), description="The task")
        plan_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=300, sigma=0.5), description="A plan")
        append_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=400, sigma=1.2), description="What a step's tool returns"
        )
        output_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=150, sigma=1.0), description="Answer of one step"
        )
        final_tokens: TokenDist = Field(TokenDist(dist="constant", value=400), description="The final answer")
        tool_gap: DurationDist = Field(
            DurationDist(dist="lognormal", median=0.3, sigma=2.9, max=10), description="Time a tool call takes"
        )

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        task = [build.shared("plan_execute", params.shared_tokens), build.text(params.input_tokens)]
        last = build.call("plan", texts=task, output=params.plan_tokens)
        for step in range(1, build.count(params.steps) + 1):
            last = self._after_tool(build, f"step-{step}", last, params.output_tokens)
            if build.chance(params.replan):
                last = self._after_tool(build, f"replan-{step}", last, params.plan_tokens)
        self._after_tool(build, "final", last, params.final_tokens)

    def _after_tool(self, build: SessionBuilder, name: str, last: int, output: TokenDist) -> int:
        params = self.params
        result = build.text(params.append_tokens)
        return build.call(name, history=last, texts=[result], output=output, gap=params.tool_gap)
