"""The section `load`: how much is asked, in which rhythm, for how long, and by how many workers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.config.cluster import RayCluster
from harness.config.section import Duration, Rate, Section, Share
from harness.units import parse_duration


class LoadConfig(Section):
    """How much is asked, and for how long. `concurrency` makes a closed loop, `rate` a partly open one."""

    concurrency: int | None = Field(default=None, ge=1, description="Closed: this many live sessions, exactly")
    rate: Rate | None = Field(default=None, description="Open: session arrivals a second")
    arrivals: Literal["constant", "poisson", "gamma", "trace"] | None = Field(
        default=None, description="Open: how sessions arrive (poisson if not told)"
    )
    cv: float | None = Field(
        default=None,
        gt=0,
        description="Coefficient of variation of gamma arrivals: 1 is Poisson, 3 is bursty",
    )
    trace: str | None = Field(
        default=None,
        description="File of the trace's arrivals, one offset in seconds a line; default: those of the replay",
    )
    time_scale: float | None = Field(
        default=None, gt=0, description="Each offset of the trace times this: 0.5 is twice as fast"
    )
    ramp: Duration = Field(
        default=0.0, description="The rate rises linearly, or slots start spread out, over this long"
    )
    warmup: int | str = Field(default=0, description="Sessions that are not counted, or a duration such as 10s")
    sessions: int | None = Field(default=None, ge=1, description="Stop after this many counted sessions ...")
    duration: Duration | None = Field(
        default=None, description="... or after this long, whichever is first (60s if neither)"
    )
    max_duration: Duration | None = Field(
        default=None, description="Go on for this long while an SLO is undecided, looking three times in all"
    )
    workers: int | Literal["auto"] = Field(default="auto", description="Processes that make the load, or auto")
    on: Literal["local", "ray"] = Field(default="local", description="Where they run: this machine, or a Ray cluster")
    ray: RayCluster | None = Field(default=None, description="The cluster, where on is ray")
    timeout: Duration = Field(default=120.0, gt=0, description="Per request")
    error_budget: Share = Field(default=0.05, ge=0, le=1, description="More failures than this make the run invalid")
    wire: Literal["harness", "httpx"] = Field(default="harness", description="HTTP client: our own, or httpx")
    kernel_stamps: bool = Field(default=True, description="Use the kernel's receive time where it can be had")
    solo: int = Field(
        default=0, ge=0, description="Then replay this many measured sessions, each alone, for session.slowdown"
    )
    solo_for: Duration = Field(default=60.0, gt=0, description="... for this long at most")
    drain: Duration = Field(default=30.0, description="After Ctrl-C, wait this long for answers under way")

    @field_validator("warmup", mode="before")
    @classmethod
    def _warmup(cls, value: Any) -> Any:
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"{value!r} is neither a number of sessions nor a duration such as 10s")
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{value} is negative")
        if isinstance(value, str):
            parse_duration(value)
        return value

    @field_validator("workers")
    @classmethod
    def _workers(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 1024:
            raise ValueError("must be 1 to 1024, or auto")
        return value

    @model_validator(mode="before")
    @classmethod
    def _poisson_by_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("rate") is not None and data.get("arrivals") is None:
            return {**data, "arrivals": "poisson"}
        return data

    @model_validator(mode="after")
    def _one_kind(self) -> LoadConfig:
        if self.arrivals == "trace":
            if self.rate is not None or self.concurrency is not None:
                raise ValueError("a trace has its own rate: leave out rate and concurrency")
            if self.ramp:
                raise ValueError("a trace has its own rate: leave out ramp")
        elif (self.concurrency is None) == (self.rate is None):
            raise ValueError("give either concurrency (closed loop) or rate (open loop)")
        if self.concurrency is not None and self.arrivals is not None:
            raise ValueError("arrivals belong to an open loop (rate); in a closed loop a session starts when one ends")
        if self.arrivals == "gamma" and self.cv is None:
            raise ValueError("arrivals: gamma needs cv, e.g. cv: 3")
        for key, owner in (("cv", "gamma"), ("trace", "trace"), ("time_scale", "trace")):
            if getattr(self, key) is not None and self.arrivals != owner:
                raise ValueError(f"{key} means nothing without arrivals: {owner}")
        if self.max_duration is not None and (self.duration is None or self.max_duration <= self.duration):
            raise ValueError("max_duration must be longer than duration, which is when SLOs are looked at first")
        if self.ray is not None and self.on != "ray":
            raise ValueError("ray means nothing without on: ray")
        if self.time_scale is not None and self.trace is None:
            raise ValueError("time_scale is that of the file trace; a replay has workload.time_scale")
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
        return self.max_duration or self.duration
