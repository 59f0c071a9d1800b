"""react: an agent that thinks, calls tools and reads their results until it is done."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import CountDist
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern
from harness.workloads.toolloop import ToolParams, tool_loop


class React(Pattern):
    """One conversation that grows by the results of tools [Yao et al., "ReAct", ICLR 2023]."""

    class Params(ToolParams):
        """Keys of `workload:` for kind `react`."""

        kind: str = "react"
        steps: CountDist = Field(CountDist(dist="geometric", mean=9, max=86), description="Model calls of the agent")
        shared_tokens: Tokens = Field(4000, ge=0, description="System prompt and tools, the same in every session")

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        steps = build.count(params.steps)
        opening = [build.shared("react", params.shared_tokens), build.text(params.append_tokens)]
        tool_loop(build, params, steps=steps, opening=opening)
