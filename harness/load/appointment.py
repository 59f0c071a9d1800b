"""A load that starts at an instant of the wall clock, so that several machines can make it together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from harness.clock import now_ns, wall_offset_ns
from harness.errors import ConfigError, UsageError
from harness.plan import Plan
from harness.records.manifest import Manifest, ShardOf
from harness.records.wallclock import wall_clock
from harness.units import NS_PER_S, format_duration

_LATER = "give all shards a later --start-at: they need time to start and to reach the target"


@dataclass(frozen=True, kw_only=True)
class Appointment:
    """When the load starts, and which share of the plan it is.

    Attributes:
        shard: None for the whole plan.
        at_ns: Unix time in nanoseconds, the zero of the run's axis; None: as soon as the workers are ready.
    """

    shard: ShardOf | None = None
    at_ns: int | None = None

    def check(self, plan: Plan) -> None:
        """Whether the plan can be divided so, and the start is still to come.

        Raises:
            UsageError: it cannot, or it is not.
        """
        if self.shard is not None:
            plan.check_divisible(self.shard.of)
            shares = plan.experiment.limits.shares
            if shares is not None and shares < self.shard.of:
                raise ConfigError(
                    "limits",
                    f"a cap of {shares} cannot be divided among {self.shard.of} shards",
                    remedy="use fewer shards",
                )
        self.start_ns()

    def most_workers(self, plan: Plan) -> int | None:
        """How many workers can have a share of our slots of a closed loop, and of each cap in `limits`; None: any
        number.

        `auto` is one worker under a cap, since a part of a cap that one worker leaves unused is of no use to another.
        Under a cap on tokens there is but one: a request that is larger than the share of a minute would have to be
        sent all the same.
        """
        load, limits = plan.experiment.load, plan.experiment.limits
        if limits.shares is not None and (load.workers == "auto" or limits.tokens_per_minute is not None):
            return 1
        found = [count for count in (load.concurrency, limits.shares) if count is not None]
        return self._ours(min(found, default=None))

    def sessions(self, plan: Plan) -> int | None:
        """How many sessions of the plan are ours; None where it names no number."""
        return self._ours(plan.sessions)

    def _ours(self, count: int | None) -> int | None:
        return count if count is None or self.shard is None else len(range(self.shard.index, count, self.shard.of))

    def start_ns(self) -> int | None:
        """The start on this machine's monotonic clock, None where there is no appointment.

        Raises:
            UsageError: it has passed.
        """
        if self.at_ns is None:
            return None
        at_ns = self.at_ns - wall_offset_ns()
        late_s = (now_ns() - at_ns) / NS_PER_S
        if late_s > 0:
            told = f"the start, {_written(self.at_ns)}, was {format_duration(late_s)} ago: nothing was sent"
            raise UsageError(told, remedy=_LATER)
        return at_ns

    def note(self, manifest: Manifest, plan: Plan) -> None:
        """Write down what a merge needs to know: the share, the start, and how true the clock is that told it."""
        manifest.shard = self.shard
        if self.at_ns is not None:
            manifest.clock["start_at"] = _written(self.at_ns)
            manifest.clock["wall"] = msgspec.to_builtins(wall_clock())
        if self.shard is not None:
            manifest.plan_sha256 = plan.sha256  # now: a shard that is killed can be merged, too
            message = f"these figures are of shard {self.shard} of a plan alone: its SLOs are judged by the merge"
            manifest.findings.append(
                {"code": "shard", "severity": "info", "message": message, "remedy": "harness merge RUN RUN ..."}
            )


def _written(at_ns: int) -> str:
    """RFC 3339 in UTC, with all the digits that it has."""
    seconds, rest = divmod(at_ns, NS_PER_S)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
