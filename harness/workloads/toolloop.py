"""The loop of an agent with tools: ask, run what it wants, append the results, ask again."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from harness.config.distribution import CountDist, DurationDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.workloads.builder import SessionBuilder
from harness.workloads.session import Text


class ToolParams(WorkloadConfig):
    """Keys of workloads whose agents use tools."""

    append_tokens: TokenDist = Field(
        TokenDist(dist="lognormal", median=400, sigma=1.2), description="Result of one tool call"
    )
    output_tokens: TokenDist = Field(
        TokenDist(dist="lognormal", median=150, sigma=1.0), description="Answer of one step"
    )
    tool_gap: DurationDist = Field(
        DurationDist(dist="lognormal", median=0.3, sigma=2.9, max=10), description="Time a tool call takes"
    )
    parallel_tools: CountDist = Field(
        CountDist(dist="choice", values=[1, 2, 4], weights=[0.9, 0.07, 0.03]),
        description="Tool calls of one step; they run at once, so the slowest decides",
    )


def tool_loop(
    build: SessionBuilder,
    params: ToolParams,
    *,
    steps: int,
    opening: Sequence[Text],
    after: Sequence[int] = (),
    window: int = 0,
) -> int:
    """`steps` calls in a row, each with the results of the last one's tools. Returns the last.

    `opening` is the first prompt. Where the next prompt would fill more than 90 % of `window` tokens, the conversation
    is compacted: it goes on in a fresh context of 30 % of the window, which begins with the same first text.
    """
    history: int | None
    step = build.call("step-1", texts=opening, after=after, output=params.output_tokens)
    for number in range(2, steps + 1):
        tools = range(build.count(params.parallel_tools))
        results = build.text(sum(build.draw(params.append_tokens) for _ in tools))
        gap = max(build.draw(params.tool_gap) for _ in tools)
        texts, history = [results], step
        if window and build.reach(step) + results.tokens > build.tokens(0.9 * window):
            kept = build.text(0.3 * window, less=opening[0].tokens)
            texts, history = [opening[0], kept, results], None
        step = build.call(
            f"step-{number}", texts=texts, history=history, after=step, output=params.output_tokens, gap=gap
        )
    return step
