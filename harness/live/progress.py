"""A run as it goes: the latest state, the last few seconds, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.records.snapshot import LogHistogram, Snapshot
from harness.units import NS_PER_S

RECENT_NS = 5 * NS_PER_S  # what "now" covers
SPARK_POINTS = 20  # seconds of throughput shown

Metric = Literal["ttft", "tpot", "e2e"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the run is to reach, for people.

    `limits` are upper limits in seconds by `metric.quantile`, as in `{"ttft.p95": 0.5}`. `duration_s` is the
    whole length, ramp and warm-up included; `sessions` counts those of the warm-up too.
    """

    name: str
    target: str = ""
    sessions: int | None = None
    duration_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    simulated: bool = False


class Progress:
    """Fed with merged snapshots in order of time; forgets what is older than the window of "now"."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.latest = Snapshot(worker=-1, t_ns=0)
        self.t_ns = 0
        self._recent: deque[tuple[int, Snapshot]] = deque()
        self._spark: deque[float] = deque(maxlen=SPARK_POINTS)
        self._spark_from = (0, 0)  # time and output tokens at the last point

    def add(self, merged: Snapshot, t_ns: int) -> None:
        """The newest state. One that is older than the last is ignored."""
        if t_ns < self.t_ns:
            return
        self.latest, self.t_ns = merged, t_ns
        self._recent.append((t_ns, merged))
        while len(self._recent) > 2 and self._recent[1][0] <= t_ns - RECENT_NS:
            self._recent.popleft()
        since, tokens = self._spark_from
        if t_ns - since >= NS_PER_S:
            self._spark.append(max(0, merged.output_tokens - tokens) * NS_PER_S / (t_ns - since))
            self._spark_from = (t_ns, merged.output_tokens)

    def now(self, metric: Metric) -> LogHistogram:
        """The histogram of the last few seconds."""
        after: LogHistogram = getattr(self.latest, metric)
        if len(self._recent) < 2:
            return after
        before: LogHistogram = getattr(self._recent[0][1], metric)
        return LogHistogram([max(0, b - a) for a, b in zip(before.counts, after.counts, strict=True)])

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens a second over the last few seconds; None until there are two states to compare."""
        if len(self._recent) < 2:
            return None
        (since, before), (until, after) = self._recent[0], self._recent[-1]
        if until <= since:
            return None
        return max(0, after.output_tokens - before.output_tokens) * NS_PER_S / (until - since)

    @property
    def spark(self) -> list[float]:
        """Output tokens a second, a value about every second, oldest first."""
        return list(self._spark)

    @property
    def share(self) -> float | None:
        """How much of the run is done, 0..1, by whichever limit comes first; None where nothing bounds it."""
        shares = []
        if self.goal.sessions:
            shares.append((self.latest.sessions_done + self.latest.sessions_failed) / self.goal.sessions)
        if self.goal.duration_s:
            shares.append(self.t_ns / NS_PER_S / self.goal.duration_s)
        return min(1.0, max(shares)) if shares else None
