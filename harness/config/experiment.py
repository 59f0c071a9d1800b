"""The validated experiment: what the user asked for, with every default filled in.

Workload and backend sections are validated by the class that `kind` names in the registry, so that a plug-in's own
keys are checked as strictly as ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from harness import registry
from harness.units import parse_duration, parse_rate, parse_share

Duration = Annotated[float, BeforeValidator(parse_duration)]
Rate = Annotated[float, BeforeValidator(parse_rate)]
Share = Annotated[float, BeforeValidator(parse_share)]


class Section(BaseModel):
    """Base of all config sections: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Launch(Section):
    """Start the server ourselves, wait until it is healthy, stop it afterwards."""

    model: str | None = Field(None, description="Path or name of the model the server is started with")
    args: list[str] = Field(default_factory=list, description="Further arguments of the server's command line")
    env: dict[str, str] = Field(default_factory=dict, description="Further environment variables")
    command: list[str] | None = Field(None, description="The whole command, where the default does not fit")
    timeout: Duration = Field(300.0, description="Give up when it is not healthy after this long")


class BackendConfig(Section):
    """Whom we ask. Subclassed by backends with keys of their own."""

    kind: str = Field("openai", description="A registered backend: openai, sim, ...")
    url: str | None = Field(None, description="Base URL, e.g. http://127.0.0.1:8000/v1")
    model: str | None = Field(None, description="Model name; default: the first the server lists")
    api: Literal["chat", "completions"] = "chat"
    stream: bool = True
    api_key: str | None = Field(None, description="A reference: env:NAME or file:PATH")
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=dict, description="Merged into every request body")
    verify: bool | str = Field(True, description="Check TLS certificates: true, false, or a CA bundle's path")
    launch: Launch | None = None


class WorkloadConfig(Section):
    """What is asked. Subclassed by each workload with its parameters."""

    kind: str = "chat"
    exact_output: bool = Field(
        False, description="Ask for exactly the planned output length; a shorter answer is a failure"
    )
    nonce: bool = Field(
        True, description="Begin prompts with words unique to the run and session, so no earlier run warms the cache"
    )
    context: Literal["live", "planned"] = Field(
        "live", description="Later prompts hold the server's real answers (live) or filler of the planned length"
    )


class LoadConfig(Section):
    """How much is asked, and for how long. `concurrency` makes a closed loop, `rate` a partly open one."""

    concurrency: int | None = Field(None, ge=1, description="Closed: this many live sessions, exactly")
    rate: Rate | None = Field(None, description="Open: session arrivals a second")
    arrivals: Literal["constant", "poisson", "gamma", "trace"] = "poisson"
    cv: float = Field(1.0, gt=0, description="Coefficient of variation of gamma arrivals")
    ramp: Duration = 0.0
    warmup: int | str = Field(0, description="Sessions that are not counted, or a duration such as 10s")
    sessions: int | None = Field(None, ge=1, description="Stop after this many counted sessions ...")
    duration: Duration | None = Field(None, description="... or after this long, whichever is first (60s if neither)")
    workers: int | Literal["auto"] = "auto"
    timeout: Duration = Field(120.0, gt=0, description="Per request")
    error_budget: Share = Field(0.05, ge=0, le=1, description="More failures than this make the run invalid")
    wire: str = Field("harness", description="harness (our own) or httpx")
    kernel_stamps: bool = Field(True, description="Use the kernel's receive time where it can be had")
    drain: Duration = Field(30.0, description="After Ctrl-C, wait this long for answers under way")

    @field_validator("warmup", mode="before")
    @classmethod
    def _warmup(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 0:
                raise ValueError("must not be negative")
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
        parse_duration(value)
        return str(value)

    @field_validator("workers")
    @classmethod
    def _workers(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 1024:
            raise ValueError("must be 1 to 1024, or auto")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> LoadConfig:
        if (self.concurrency is None) == (self.rate is None):
            raise ValueError("give either concurrency (closed loop) or rate (open loop)")
        return self

    @property
    def warmup_sessions(self) -> int:
        return self.warmup if isinstance(self.warmup, int) else 0

    @property
    def warmup_s(self) -> float:
        return 0.0 if isinstance(self.warmup, int) else parse_duration(self.warmup)

    @property
    def measured_s(self) -> float | None:
        """How long sessions may start once the load is full and warm; None: no limit but `sessions`."""
        if self.duration is None and self.sessions is None:
            return 60.0
        return self.duration


class Limits(Section):
    """A polite cap toward hosted endpoints. Not an arrival process: it releases in bursts."""

    requests_per_minute: float | None = Field(None, gt=0)
    max_in_flight: int | None = Field(None, ge=1)


class Cost(Section):
    """What the target costs. One of: `gpu_hour` (rented), `price` (hosted, per 1M tokens)."""

    gpu_hour: float | None = Field(None, ge=0)
    gpus: float = Field(1, gt=0)
    price: dict[str, float] | None = None
    currency: str = "USD"
    as_of: str | None = None


class TelemetryConfig(Section):
    """What is sampled beside the run."""

    interval: Duration = Field(1.0, gt=0)
    prometheus: bool | str = Field("auto", description="auto, true, false, or the URL of the metrics page")
    gpu: bool | Literal["auto"] = "auto"


class Experiment(Section):
    """One experiment, as in design.md section 6.2."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(0, ge=0, lt=2**63)
    backend: SerializeAsAny[BackendConfig]
    workload: SerializeAsAny[WorkloadConfig]
    load: LoadConfig
    limits: Limits = Limits()
    slo: list[str] = Field(default_factory=list)
    gate: list[str] = Field(default_factory=list)
    cost: Cost | None = None
    telemetry: TelemetryConfig = TelemetryConfig()
    sweep: dict[str, list[Any]] | None = None

    @field_validator("backend", mode="before")
    @classmethod
    def _backend(cls, value: Any) -> Any:
        return _by_kind("harness.backends", value, "openai")

    @field_validator("workload", mode="before")
    @classmethod
    def _workload(cls, value: Any) -> Any:
        return _by_kind("harness.workloads", value, "chat")


def _by_kind(group: str, value: Any, default: str) -> Any:
    """Validate a section with the `Params` class of the implementation its `kind` names."""
    if not isinstance(value, dict):
        return value
    return registry.load(group, str(value.get("kind", default))).Params.model_validate(value)


