"""code_agent: a long tool loop on a large prompt that is compacted when the window is full."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.config.distribution import CountDist, TokenDist
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern
from harness.workloads.toolloop import ToolParams, tool_loop


class CodeAgent(Pattern):
    """An agent that works on a repository. Almost all of its input has been sent before."""

    class Params(ToolParams):
        """Keys of `workload:` for kind `code_agent`."""

        kind: str = "code_agent"
        steps: CountDist = Field(
            CountDist(dist="lognormal", median=45, sigma=0.97, max=330), description="Model calls of the agent"
        )
        shared_tokens: Tokens = Field(16000, ge=0, description="System prompt and tools, the same in every session")
        context_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=8000, sigma=1.0), description="Rules, files and task of the session"
        )
        append_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=800, sigma=1.46, max=10000), description="Result of one tool call"
        )
        output_tokens: TokenDist = Field(
            TokenDist(dist="lognormal", median=216, sigma=1.11, max=4000), description="Answer of one step"
        )
        window: Tokens = Field(
            128000, gt=0, description="Context window: at 90 % of it the conversation is compacted to 30 %"
        )

        @model_validator(mode="after")
        def _room(self) -> CodeAgent.Params:
            if self.shared_tokens > 0.25 * self.window:
                raise ValueError(f"shared_tokens {self.shared_tokens} leave no room: at most a quarter of the window")
            return self

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        steps = build.count(params.steps)
        opening = [build.shared("code_agent", params.shared_tokens), build.text(params.context_tokens)]
        tool_loop(build, params, steps=steps, opening=opening, window=params.window)
