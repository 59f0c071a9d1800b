"""A run as it goes: the latest state, the last few seconds, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.metrics.engine import prefix_hit_share
from harness.records.snapshot import LogHistogram, Snapshot
from harness.units import NS_PER_S

RECENT_NS = 5 * NS_PER_S  # what "now" covers
SPARK_POINTS = 60  # seconds of throughput kept
_SOON = 0.05  # a pace that is told from less of the run is a guess
_TOTALS = ("prefix_cache_queries", "prefix_cache_hits", "prompt_tokens", "cached_prompt_tokens")

Metric = Literal["ttft", "tpot", "e2e"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the run is to reach, for people.

    `limits` are upper limits in seconds by `metric.quantile`, as in `{"ttft.p95": 0.5}`, and that of `error_rate`, a
    share; `later` are the SLOs that only the records can tell, as written. `duration_s` is the whole length, ramp and
    warm-up included; `sessions` counts those of the warm-up too. `ceiling` is how many events a second all workers
    were calibrated to take.
    """

    name: str
    target: str = ""
    sessions: int | None = None
    duration_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    later: tuple[str, ...] = ()
    ceiling: float | None = None
    simulated: bool = False


def is_live(metric: str, quantile: float | None) -> bool:
    """Whether snapshots know this figure; all others come from the records after the run."""
    return metric == "error_rate" if quantile is None else metric in get_args(Metric)


class Progress:
    """Fed with merged snapshots in order of time; forgets what is older than the window of "now"."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.latest = Snapshot(worker=-1, t_ns=0)
        self.t_ns = 0
        self.engine: Mapping[str, float] = {}  # what the server's own page says, by canonical name
        self._engine_before: Mapping[str, float] = {}
        self._recent: deque[tuple[int, Snapshot]] = deque()
        self._spark: deque[float] = deque(maxlen=SPARK_POINTS)
        self._spark_from = (0, 0)  # time and output tokens at the last point

    def add(self, merged: Snapshot, t_ns: int, engine: Mapping[str, float] | None = None) -> None:
        """The newest state. One that is older than the last is ignored."""
        if t_ns < self.t_ns:
            return
        self.latest, self.t_ns = merged, t_ns
        self._hear(engine or {})
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

    def _hear(self, engine: Mapping[str, float]) -> None:
        """Totals count from the first that is heard, and anew where the server was restarted."""
        before = self._engine_before
        if engine and (not before or any(value < before.get(name, 0) for name, value in _totals(engine))):
            self._engine_before = engine
        self.engine = engine

    @property
    def prefix_hits(self) -> float | None:
        """The share of looked-up prompt tokens that the server found in its prefix cache, over the load so far."""
        before = self._engine_before
        return prefix_hit_share({name: value - before[name] for name, value in _totals(self.engine) if name in before})

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens a second over the last few seconds; None until there are two states to compare."""
        return self._rate("output_tokens")

    @property
    def requests_per_s(self) -> float | None:
        """Requests that succeeded, a second, over the last few seconds."""
        return self._rate("requests_ok")

    @property
    def ceiling_share(self) -> float | None:
        """How much of what this machine was calibrated to take the last few seconds took; None where it was not."""
        rate = self._rate("events")
        return rate / self.goal.ceiling if rate is not None and self.goal.ceiling else None

    def _rate(self, count: str) -> float | None:
        if len(self._recent) < 2:
            return None
        (since, before), (until, after) = self._recent[0], self._recent[-1]
        if until <= since:
            return None
        return float(max(0, getattr(after, count) - getattr(before, count)) * NS_PER_S / (until - since))

    @property
    def spark(self) -> list[float]:
        """Output tokens a second, a value about every second, oldest first."""
        return list(self._spark)

    @property
    def share(self) -> float | None:
        """How much of the run is done, 0..1, by whichever limit comes first; None where nothing bounds it."""
        shares = [share for share in (self._sessions_share, self._time_share) if share is not None]
        return min(1.0, max(shares)) if shares else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the end by the plan, or by the pace of sessions so far if that is sooner; None where neither
        is known, or only the last answers are waited for."""
        elapsed, left = self.t_ns / NS_PER_S, []
        if self.goal.duration_s:
            left.append(self.goal.duration_s - elapsed)
        if self._sessions_share and self._sessions_share > _SOON:
            left.append(elapsed / self._sessions_share - elapsed)
        soonest = min(left, default=0.0)
        return soonest if soonest > 0 else None

    @property
    def _sessions_share(self) -> float | None:
        ended = self.latest.sessions_done + self.latest.sessions_failed
        return ended / self.goal.sessions if self.goal.sessions else None

    @property
    def _time_share(self) -> float | None:
        return self.t_ns / NS_PER_S / self.goal.duration_s if self.goal.duration_s else None


def _totals(engine: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in engine.items() if name in _TOTALS]
