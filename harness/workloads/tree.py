"""tree: several thoughts at each step, every one evaluated, the best few kept and thought on."""

from __future__ import annotations

from pydantic import Field

from harness.config.distribution import TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Tokens
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class Tree(Pattern):
    """A beam search in thoughts [Yao et al., "Tree of Thoughts", NeurIPS 2023]. Thoughts fork the one before them."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `tree`."""

        kind: str = "tree"
        breadth: int = Field(3, ge=1, le=100, description="Thoughts that follow each one that is kept")
        depth: int = Field(3, ge=1, le=20, description="Levels of thoughts")
        keep: int = Field(2, ge=1, le=100, description="Thoughts of a level that are thought on")
        shared_tokens: Tokens = Field(1000, ge=0, description="System prompt, the same in every session")
        input_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=200, sigma=0.8), description="The problem")
        next_tokens: Tokens = Field(30, gt=0, description="The request for the next thought")
        output_tokens: TokenDist = Field(TokenDist(dist="lognormal", median=150, sigma=0.8), description="One thought")
        judge_input_tokens: Tokens = Field(60, gt=0, description="The request to evaluate a thought")
        judge_tokens: TokenDist = Field(TokenDist(dist="constant", value=20), description="One evaluation")

    params: Params

    def build(self, build: SessionBuilder) -> None:
        params = self.params
        problem = [build.shared("tree", params.shared_tokens), build.text(params.input_tokens)]
        kept: list[int | None] = [None]
        thoughts: list[int] = []
        evaluations: list[int] = []
        for level in range(1, params.depth + 1):
            thoughts = []
            for parent in kept:
                prompt = problem if parent is None else [build.text(params.next_tokens)]
                for _ in range(params.breadth):
                    name = f"thought-{level}.{len(thoughts) + 1}"
                    thoughts.append(
                        build.call(name, history=parent, after=evaluations, texts=prompt, output=params.output_tokens)
                    )
            evaluations = [
                build.call(
                    f"evaluation-{level}.{place}",
                    history=thought,
                    texts=[build.text(params.judge_input_tokens)],
                    output=params.judge_tokens,
                )
                for place, thought in enumerate(thoughts, 1)
            ]
            kept = [*build.choose(thoughts, params.keep)]
        best = build.choose(thoughts, 1)[0]
        follow = [build.text(params.next_tokens)]
        build.call("answer", history=best, after=evaluations, texts=follow, output=params.output_tokens)
