"""The validated experiment: what the user asked for, with every default filled in.

Workload and backend sections are validated by the class that `kind` names in the registry, so that a
plug-in's own keys are checked as strictly as ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    StringConstraints,
    field_validator,
)
from pydantic_core import PydanticCustomError

from harness import registry
from harness.config import references
from harness.config.cost import Cost
from harness.config.load_section import LoadConfig
from harness.config.section import Duration, Rate, Section, Share, Tokens
from harness.errors import MissingExtra, UsageError

__all__ = [
    "BackendConfig",
    "Cost",
    "Duration",
    "Experiment",
    "Launch",
    "Limits",
    "LoadConfig",
    "Rate",
    "Section",
    "Share",
    "TelemetryConfig",
    "Tokens",
    "WorkloadConfig",
]

Expression = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Launch(Section):
    """Start the server ourselves, wait until it is healthy, stop it afterwards."""

    model: str | None = Field(default=None, description="Path or name of the model the server is started with")
    args: list[str] = Field(default_factory=list, description="Further arguments of the server's command line")
    env: dict[str, str] = Field(default_factory=dict, description="Further environment variables")
    command: list[str] | None = Field(default=None, description="The whole command, where the default does not fit")
    timeout: Duration = Field(default=300.0, description="Give up when it is not healthy after this long")

    @field_validator("env")
    @classmethod
    def _env(cls, value: dict[str, str]) -> dict[str, str]:
        return references.check_names(value)


class BackendConfig(Section):
    """Whom we ask. Subclassed by backends with keys of their own."""

    kind: str = Field(default="openai", description="A registered backend: openai, sim, ...")
    url: str | None = Field(default=None, description="Base URL, e.g. http://127.0.0.1:8000/v1")
    model: str | None = Field(default=None, description="Model name; default: the first the server lists")
    api: Literal["chat", "completions"] = Field(default="chat", description="Which of the two OpenAI calls is made")
    stream: bool = Field(default=True, description="Stream answers; without, ttft and tpot are unknown")
    api_key: str | None = Field(default=None, description="A reference: env:NAME or file:PATH")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Further HTTP headers; secret ones as references: env:NAME"
    )
    body: dict[str, Any] = Field(default_factory=dict, description="Merged into every request body")
    tokenizer: str | None = Field(
        default=None, description="Path of a tokenizer.json: counts output tokens where the server does not"
    )
    verify: bool | str = Field(default=True, description="Check TLS certificates: true, false, or a CA bundle's path")
    launch: Launch | None = Field(default=None, description="Start the server ourselves")

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else references.check_url(value)

    @field_validator("api_key")
    @classmethod
    def _api_key(cls, value: str | None) -> str | None:
        if value is not None and not references.is_reference(value):
            raise ValueError(references.LITERAL)
        return value

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return references.check_names(value)


class WorkloadConfig(Section):
    """What is asked. Subclassed by each workload with its parameters."""

    kind: str = Field(default="chat", description="A registered workload, or one of your own as file.py:name")
    weight: float | None = Field(
        default=None, gt=0, description="In a mix: how often this kind is drawn, compared with the others (1)"
    )
    scale: Literal["laptop", "lab", "full"] = Field(
        default="full", description="Divides all token counts: laptop by 16, lab by 4, full by 1"
    )
    exact_output: bool = Field(
        default=False, description="Ask for exactly the planned output length; a shorter answer is a failure"
    )
    nonce: bool = Field(
        default=True,
        description="Begin prompts with words of this run and session, so no earlier run warms the cache",
    )
    context: Literal["live", "planned"] = Field(
        default="live",
        description="Later prompts hold the server's real answers (live) or filler of the planned length",
    )


class Limits(Section):
    """A polite cap toward hosted endpoints. Not an arrival process: it releases in bursts."""

    requests_per_minute: float | None = Field(default=None, gt=0, description="No more requests than this a minute")
    tokens_per_minute: float | None = Field(
        default=None, gt=0, description="No more planned tokens than this a minute, prompts and answers together"
    )
    max_in_flight: int | None = Field(default=None, ge=1, description="No more requests than this under way at once")
    retry: int = Field(
        default=0, ge=0, le=100, description="Ask again so often after HTTP 429 or 503, when Retry-After says"
    )

    @property
    def shares(self) -> int | None:
        """Among how many workers or shards the caps can be divided, so that each may send; None where none is set."""
        caps = [self.requests_per_minute, self.tokens_per_minute, self.max_in_flight]
        told = [cap for cap in caps if cap is not None]
        return max(1, int(min(told))) if told else None


class TelemetryConfig(Section):
    """What is sampled beside the run. The `auto` of this machine's sensors: where the target works on this machine."""

    interval: Duration = Field(default=1.0, gt=0, description="Time between samples")
    idle: Duration = Field(default=0.0, description="Sample this long before the load, for energy net of idle")
    prometheus: bool | str = Field(default="auto", description="auto, true, false, or the URL of the metrics page")
    gpu: bool | Literal["auto"] | list[Annotated[int, Field(ge=0)]] = Field(
        default="auto", description="Sample GPUs of this machine: auto, true, false, or a list of their numbers"
    )
    cpu: bool | Literal["auto"] = Field(
        default="auto", description="Read this machine's processor energy (RAPL): auto, true, false"
    )
    dcgm: str | None = Field(default=None, description="URL of a DCGM exporter's metrics page, for GPUs elsewhere")
    power_command: str | None = Field(
        default=None,
        min_length=1,
        description="Shell command that prints watts of the whole box, e.g. from a smart plug",
    )
    pue: float | None = Field(default=None, ge=1, description="Power usage effectiveness of the target's data centre")
    carbon: float | None = Field(default=None, ge=0, description="Carbon intensity of its power, in gCO2 per kWh")

    @field_validator("prometheus")
    @classmethod
    def _prometheus(cls, value: bool | str) -> bool | str:
        return value if isinstance(value, bool) or value == "auto" else references.check_url(value)

    @field_validator("dcgm")
    @classmethod
    def _dcgm(cls, value: str | None) -> str | None:
        return None if value is None else references.check_url(value)


class Experiment(Section):
    """One experiment: a whole config."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Part of the results folder's name",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Fixes every random choice of the plan")
    backend: SerializeAsAny[BackendConfig] = Field(description="Whom we ask")
    workload: SerializeAsAny[WorkloadConfig] = Field(description="What is asked")
    load: LoadConfig = Field(description="How much is asked, and for how long")
    limits: Limits = Field(default=Limits(), description="A polite cap toward hosted endpoints")
    slo: list[Expression] = Field(default_factory=list, description="What has to hold, e.g. ttft.p95 < 500ms")
    gate: list[Expression] = Field(default_factory=list, description="What has to hold against a baseline")
    cost: Cost | None = Field(default=None, description="What the target costs")
    telemetry: TelemetryConfig = Field(default=TelemetryConfig(), description="What is sampled beside the run")
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = Field(
        default=None, description="Dotted path -> the values it takes, one run for each combination"
    )

    @field_validator("backend", mode="before")
    @classmethod
    def _backend(cls, value: Any) -> Any:
        return by_kind("harness.backends", value, "openai")

    @field_validator("workload", mode="before")
    @classmethod
    def _workload(cls, value: Any) -> Any:
        return by_kind("harness.workloads", {"kind": "mix", "of": value} if isinstance(value, list) else value, "chat")

    @field_validator("workload")
    @classmethod
    def _no_weight(cls, value: WorkloadConfig) -> WorkloadConfig:
        if value.weight is not None:
            raise ValueError("weight means nothing outside of a mix: make workload a list")
        return value


def by_kind(group: str, value: Any, default: str) -> Any:
    """Validate a section with the `Params` class of the implementation its `kind` names.

    What is no section is returned as it is, for pydantic to refuse.

    Raises:
        PydanticCustomError, ValidationError: there is no such kind, or a key is wrong.
        MissingExtra: the kind needs a package that is not installed.
    """
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", default)
    if not isinstance(kind, str):
        raise PydanticCustomError("kind", "{problem}", {"problem": f"{kind!r} is not text"})
    try:
        params = registry.load(group, kind).Params
    except MissingExtra:
        raise
    except UsageError as error:
        raise PydanticCustomError("kind", "{problem}", {"problem": error.message}) from error
    return params.model_validate(value)
