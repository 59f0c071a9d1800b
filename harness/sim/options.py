"""What `harness sim` is asked to simulate, checked before anything listens."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.sim.faults import Faults


class SimOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Everything a simulated engine can be told. Durations in seconds.

    Attributes:
        profile: name or path; None means `default_profile`, or a fixed pace where `ttft` and `itl` are given.
        port: 0 takes a free one.
        truth: file for the ground truth, or None.
        time_scale: simulated durations are multiplied by this: 0.1 is ten times as fast.
        strict_model: refuse other model names than the profile's.
        role_first: send the role event before the prefill instead of with the first token.
        tokens_per_event: tokens in every event after the first.
        parent_pid: exit when this process is gone.
    """

    profile: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    ttft: float | None = None
    itl: float | None = None
    truth: Path | None = None
    seed: int = 0
    time_scale: float = 1.0
    strict_model: bool = False
    role_first: bool = False
    tokens_per_event: int = 1
    parent_pid: int | None = None
    faults: Faults = Faults()

    default_profile = "h100-vllm-8b"

    @property
    def paced(self) -> bool:
        """Whether a fixed pace is simulated instead of an engine."""
        return self.ttft is not None

    def check(self) -> None:
        """Raise UsageError where the options contradict each other."""
        if (self.ttft is None) != (self.itl is None):
            raise UsageError("a fixed pace needs both ttft and itl", remedy="e.g. --ttft 30ms --itl 2ms")
        if self.paced and self.profile is not None:
            raise UsageError(
                f"profile {self.profile} and a fixed pace exclude each other",
                remedy="leave out --profile, or --ttft and --itl",
            )
        if self.paced and self.strict_model:
            raise UsageError("a fixed pace has no model to be strict about", remedy="leave out --strict-model")
        if not 0 < self.time_scale <= 1000:
            raise UsageError(f"time-scale is {self.time_scale:g}; it must be above 0 and at most 1000")
        if self.tokens_per_event < 1:
            raise UsageError(f"tokens-per-event is {self.tokens_per_event}; it must be at least 1")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port is {self.port}; it must be 0 (any free one) to 65535")
