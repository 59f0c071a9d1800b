"""dag: a session written down in the config, request by request."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from harness.config.distribution import DurationDist, OptionalTokenDist, TokenDist
from harness.config.experiment import WorkloadConfig
from harness.config.section import Section
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern


class DagNode(Section):
    """One request of the session."""

    name: str = Field(min_length=1, description="Unique in the session")
    after: list[str] = Field(default_factory=list, description="Requests it has to wait for")
    history: str | None = Field(None, description="Request whose conversation it continues; default: a fresh context")
    joins: list[str] = Field(default_factory=list, description="Requests whose answers become part of its prompt")
    need: int | None = Field(None, ge=1, description="How many of `joins` are enough, the first ones; default: all")
    cancel_losers: bool = Field(False, description="Cancel what is not waited for any more")
    shared_tokens: OptionalTokenDist = Field(
        OptionalTokenDist(dist="constant", value=0), description="System prompt, the same in every session"
    )
    input_tokens: OptionalTokenDist = Field(
        OptionalTokenDist(dist="constant", value=0), description="What it adds to the conversation"
    )
    output_tokens: TokenDist = Field(description="Its answer")
    gap: DurationDist = Field(
        DurationDist(dist="constant", value=0), description="Time between the last answer it needs and its being due"
    )
    agent: str | None = Field(None, description="Sub-agent that asks; default: the main one")
    model: str | None = Field(None, description="Model to ask; default: that of the config")

    @field_validator("after", "joins", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("shared_tokens")
    @classmethod
    def _same(cls, value: OptionalTokenDist) -> OptionalTokenDist:
        if value.dist != "constant":
            raise ValueError("must be a plain number: the text is the same in every session")
        return value


class Dag(Pattern):
    """The shape is fixed; sizes and gaps may be distributions."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `dag`."""

        kind: str = "dag"
        nodes: list[DagNode] = Field(min_length=1, description="The requests; each stands below those it needs")

        @model_validator(mode="after")
        def _ordered(self) -> Dag.Params:
            known: dict[str, int] = {}
            for place, node in enumerate(self.nodes):
                if node.name in known:
                    raise ValueError(f"nodes.{place}: there are two nodes called {node.name}")
                for name in (*node.after, *node.joins, *([node.history] if node.history else [])):
                    if name not in known:
                        above = ", ".join(known) or "none"
                        raise ValueError(
                            f"nodes.{place}: {node.name} needs {name}, which does not stand above ({above})"
                        )
                if node.need is not None and (node.need > len(node.joins) or node.after or node.history in node.joins):
                    raise ValueError(
                        f"nodes.{place}: {node.name} needs {node.need} of its {len(node.joins)} joins,"
                        " and can wait for nothing else"
                    )
                if not (node.history or node.joins or node.shared_tokens.mean() or node.input_tokens.quantile(0)):
                    raise ValueError(f"nodes.{place}: {node.name} has an empty prompt: give it input_tokens")
                known[node.name] = place
            return self

    params: Params

    def build(self, build: SessionBuilder) -> None:
        calls: dict[str, int] = {}
        for node in self.params.nodes:
            calls[node.name] = build.call(
                node.name,
                after=[calls[name] for name in node.after],
                history=calls[node.history] if node.history else None,
                joins=[calls[name] for name in node.joins],
                need=node.need,
                cancel_losers=node.cancel_losers,
                texts=[build.shared(f"dag.{node.name}", node.shared_tokens), build.text(node.input_tokens)],
                output=node.output_tokens,
                gap=node.gap,
                agent=node.agent,
                depth=1 if node.agent else 0,
                model=node.model,
            )
