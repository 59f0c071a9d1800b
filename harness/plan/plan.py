"""The plan: every arrival, session shape and size, fixed before the first byte is sent.

A plan is an immutable value made from the experiment alone. It is divisible: shard i of n takes every session
whose index is i modulo n, needs no coordinator, and sees the same sessions as the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count as count_from
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness import arrivals, registry
from harness.asked import PLANNED_LOAD
from harness.config import Experiment, LoadConfig
from harness.errors import ConfigError, UsageError
from harness.units import NS_PER_S
from harness.workloads.session import Session, Timed, Workload

HASHED_SESSIONS = 10_000
HASHED_UNBOUNDED = 1_000  # of a plan that only time bounds


@dataclass(frozen=True, eq=False)
class Plan:
    """Who asks, what, and when. All offsets are from the start of load.

    Attributes:
        experiment: what it was made from.
        warmup_sessions: sessions with an index below this are warm-up, in addition to `load.sessions`.
        sessions: how many may start, warm-up included; None: only time bounds them, or `counted` does.
        counted: of a closed loop whose warm-up is a time: how many may start once that is over. How many start before
            is known to nobody: it depends on the target. None elsewhere.
        arrivals_ns: open: the offset of session i; None in a closed loop.
        slots_ns: closed: the offset of each slot's first session; None in an open loop.
        ramp_ns, warmup_ns: warm-up by time comes after the ramp.
        start_limit_ns: no session starts at or after this offset (ramp + warm-up + duration); None: no such
            limit.
    """

    experiment: Experiment
    warmup_sessions: int
    sessions: int | None
    counted: int | None
    arrivals_ns: NDArray[np.int64] | None
    slots_ns: NDArray[np.int64] | None
    ramp_ns: int
    warmup_ns: int
    start_limit_ns: int | None
    workload: Workload = field(repr=False)

    @property
    def warm_ns(self) -> int:
        """When a warm-up by time is over: sessions that arrive from then on are counted."""
        return self.ramp_ns + self.warmup_ns

    @property
    def full_ns(self) -> int:
        """When the load is full: a closed one with its last slot, an open one with the end of its ramp."""
        if self.slots_ns is None:
            return self.ramp_ns
        return int(self.slots_ns.max())

    def session(self, index: int) -> Session:
        """The session of this index; the same whoever asks, and whenever."""
        return self.workload.session(self.experiment.seed, index)

    def shard(self, index: int, count: int) -> Shard:
        """The share of worker `index` of `count`.

        Raises:
            ValueError: there is no such worker.
        """
        if not 0 <= index < count:
            raise ValueError(f"no shard {index} of {count}")
        return Shard(self, index, count)

    def check_divisible(self, count: int) -> None:
        """Whether every one of `count` shards has something to do.

        Raises:
            UsageError: there are fewer sessions, or fewer slots of a closed loop, than shards.
        """
        for found, what in (
            (None if self.slots_ns is None else len(self.slots_ns), "slots (load.concurrency)"),
            (self.counted if self.sessions is None else self.sessions, "sessions"),
        ):
            if found is not None and found < count:
                raise UsageError(f"{found} {what} cannot be divided among {count} shards", remedy="use fewer shards")

    def alone(self, indices: Sequence[int]) -> Shard:
        """These sessions one after the other, each when the last has ended: what `load.solo` replays."""
        slot = np.zeros(1, dtype=np.int64)
        plan = replace(
            self,
            warmup_sessions=0,
            sessions=len(indices),
            counted=None,
            arrivals_ns=None,
            slots_ns=slot,
            ramp_ns=0,
            warmup_ns=0,
            start_limit_ns=None,
        )
        return Shard(plan, 0, 1, tuple(indices))

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that fixes who asks what and when: the same plan, the same load.

        Workload (but not in which folder its files lie), load and seed, the offsets, and the sessions themselves: all
        of them up to 10,000, beyond that 10,000 spread evenly and the count; of a plan that only time bounds, the
        first 1,000. Not in it: the target, secrets, the name, limits, and how the load is sent and measured (workers,
        wire, timeouts).
        """
        load = self.experiment.load
        left_out = {"trace"}  # the name of a file: its offsets are hashed themselves
        if load.max_duration is None:
            left_out.add("max_duration")  # a plan without it keeps its hash
        head = {
            "plan": 1,
            "seed": self.experiment.seed,
            "workload": _without_folders(self.experiment.workload.model_dump(mode="json", exclude_none=True)),
            "load": load.model_dump(mode="json", include=set(PLANNED_LOAD) - left_out),
            "sessions": self.sessions,
        }
        digest = hashlib.sha256(msgspec.json.encode(head, order="deterministic"))
        for name, offsets in ((b"arrivals", self.arrivals_ns), (b"slots", self.slots_ns)):
            if offsets is not None:
                digest.update(name + offsets.astype("<i8").tobytes())
        for index in self.sampled(HASHED_SESSIONS, HASHED_UNBOUNDED):
            digest.update(msgspec.json.encode(self.session(index), order="deterministic") + b"\n")
        return digest.hexdigest()

    def sampled(self, most: int, unbounded: int) -> list[int]:
        """All session indices, or `most` spread evenly; the first `unbounded` if only time bounds them."""
        if self.sessions is None:
            return list(range(unbounded))
        if self.sessions <= most:
            return list(range(self.sessions))
        return [place * self.sessions // most for place in range(most)]


@dataclass(frozen=True, eq=False)
class Shard:
    """One worker's share of a plan: every session (and slot) whose index is `index` modulo `count`."""

    plan: Plan
    index: int
    count: int
    chosen: tuple[int, ...] | None = None  # these sessions and no others

    def arrivals(self) -> Iterator[tuple[int, int]]:
        """(offset in ns, session index) of this shard, in order of time. Empty in a closed loop."""
        offsets = self.plan.arrivals_ns
        if offsets is not None:
            for index in range(self.index, len(offsets), self.count):
                yield int(offsets[index]), index

    def slots(self) -> list[int]:
        """Start offsets in ns of this shard's slots. Empty in an open loop."""
        offsets = self.plan.slots_ns
        return [] if offsets is None else [int(offset) for offset in offsets[self.index :: self.count]]

    @property
    def counted(self) -> int | None:
        """This shard's part of `Plan.counted`."""
        whole = self.plan.counted
        return None if whole is None else len(range(self.index, whole, self.count))

    def indices(self) -> Iterator[int]:
        """Session indices of this shard, in order; endless where no number bounds the plan."""
        if self.chosen is not None:
            return iter(self.chosen)
        if self.plan.sessions is None:
            return count_from(self.index, self.count)
        return iter(range(self.index, self.plan.sessions, self.count))


def make_plan(experiment: Experiment) -> Plan:
    """The plan of an experiment. Pure: equal experiments give equal plans.

    `load.sessions` are those that count: what arrives during a warm-up, by number or by time, comes on top.

    Raises:
        ConfigError: the load would hold too many arrivals, or the trace cannot be read.
    """
    load = experiment.load
    ramp_ns, warmup_ns = round(load.ramp * NS_PER_S), round(load.warmup_s * NS_PER_S)
    measured_s = load.measured_s
    limit_ns = None if measured_s is None else ramp_ns + warmup_ns + round(measured_s * NS_PER_S)
    sessions = None if load.sessions is None else load.warmup_sessions + load.sessions
    workload: Workload = registry.load("harness.workloads", experiment.workload.kind)(experiment.workload)
    arrivals_ns = slots_ns = counted = None
    if load.concurrency is None:
        recorded = _recorded(load, workload) if load.arrivals == "trace" else ()
        if sessions is not None and warmup_ns:
            sessions += len(_arrivals(load, recorded, experiment.seed, ramp_ns, None, ramp_ns + warmup_ns))
        arrivals_ns = _arrivals(load, recorded, experiment.seed, ramp_ns, sessions, limit_ns)
        arrivals_ns.flags.writeable = False
        sessions = len(arrivals_ns)
    else:
        slots_ns = arrivals.closed_starts(load.concurrency, ramp_ns, experiment.seed)
        slots_ns.flags.writeable = False
        if warmup_ns:
            sessions, counted = None, sessions
    return Plan(
        experiment=experiment,
        warmup_sessions=load.warmup_sessions,
        sessions=sessions,
        counted=counted,
        arrivals_ns=arrivals_ns,
        slots_ns=slots_ns,
        ramp_ns=ramp_ns,
        warmup_ns=warmup_ns,
        start_limit_ns=limit_ns,
        workload=workload,
    )


def _arrivals(
    load: LoadConfig, recorded: Sequence[float], seed: int, ramp_ns: int, count: int | None, until_ns: int | None
) -> NDArray[np.int64]:
    try:
        if load.arrivals == "trace":
            return arrivals.trace(recorded, scale=load.time_scale or 1.0, count=count, until_ns=until_ns)
        rate = load.rate or 1.0
        if load.arrivals == "constant":
            return arrivals.constant(rate, ramp_ns=ramp_ns, count=count, until_ns=until_ns)
        if load.arrivals == "gamma":
            cv = load.cv or 1.0
            return arrivals.gamma(rate, cv, seed, ramp_ns=ramp_ns, count=count, until_ns=until_ns)
        return arrivals.poisson(rate, seed, ramp_ns=ramp_ns, count=count, until_ns=until_ns)
    except ValueError as error:
        raise ConfigError("load", str(error)) from error


def _recorded(load: LoadConfig, workload: Workload) -> Sequence[float]:
    """The offsets of a trace in seconds: of the file that `load` names, else of the sessions that are replayed."""
    if load.trace is not None:
        return _read_trace(load.trace)
    starts = workload.starts_s() if isinstance(workload, Timed) else None
    if starts is None:
        raise ConfigError(
            "load.arrivals",
            "trace needs trace, a file of offsets, or a workload of kind replay whose trace has times",
            remedy="give load.trace, load.rate or load.concurrency",
        )
    return starts


def _without_folders(part: Any) -> Any:
    """A workload without the folders of its files: the same files elsewhere are the same load."""
    if isinstance(part, list):
        return [_without_folders(item) for item in part]
    if not isinstance(part, dict):
        return part
    named = {key: Path(part[key]).name for key in ("kind", "path") if isinstance(part.get(key), str)}
    return {key: named.get(key) or _without_folders(value) for key, value in part.items()}


def _read_trace(path: str) -> list[float]:
    """Offsets in seconds, one a line. Empty lines and those that begin with # are skipped."""
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError("load.trace", f"cannot read {path}: {error.strerror}") from error
    offsets = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                offsets.append(float(line))
            except ValueError:
                raise ConfigError(
                    "load.trace", f"{path}:{number}: {line.strip()!r} is not a number of seconds"
                ) from None
    return offsets
