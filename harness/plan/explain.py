"""What a plan will do, in figures and words, before anything is sent."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.config import Cost, LoadConfig
from harness.hourly import owned_hour, rented_hour
from harness.plan.plan import Plan
from harness.units import NS_PER_S, format_duration, format_number
from harness.workloads.session import Noted, Session

LOOKED_AT = 20_000  # sessions; of more, this many spread evenly, and totals are scaled
_UNBOUNDED = 1_000  # of a plan that only time bounds
_FIRST = 10


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One session that is about to start."""

    at_s: float
    session: str
    requests: int
    input_tokens: int
    output_tokens: int


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of session has of the whole, as shares of the sessions looked at."""

    kind: str
    sessions: float
    requests: float
    tokens: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A plan in figures. Tokens are planned ones; unknown is None.

    Attributes:
        load, stop: the load, and what ends it, in words.
        sessions: all that may start, warm-up included; None where only time bounds them, or `counted` does.
        counted: of a closed loop with a warm-up by time: all that may start after that.
        requests, input_tokens, output_tokens: totals; None where `sessions` is.
        requests_per_session, input_tokens_per_session, output_tokens_per_session: means.
        longest_prompt: in tokens, of the sessions looked at.
        looked_at: sessions that were looked at; totals are scaled up where there are more.
        duration_s: how long sessions start; of a closed loop at most this long; None where nothing bounds it.
        cost_ceiling: of all planned tokens at full price, no input cached; of one session where `sessions` is unknown
            it is `session_cost_ceiling`.
        per_hour: of the hardware, rented or owned, and `hour_parts` what it is made of: without electricity where that
            has no price, or its power is to be measured yet.
        hardware_cost: of the hardware over `duration_s`; the last answers come on top.
        kinds: shares of each kind of session, the most frequent first.
        notes: what the workload has to tell, e.g. of a trace.
        first: the first sessions to start.
    """

    name: str
    seed: int
    backend: str
    workload: str
    open_loop: bool
    load: str
    stop: str
    sessions: int | None
    counted: int | None
    warmup_sessions: int
    warmup_s: float
    requests: int | None
    input_tokens: int | None
    output_tokens: int | None
    requests_per_session: float | None
    input_tokens_per_session: float | None
    output_tokens_per_session: float | None
    longest_prompt: int | None
    looked_at: int
    duration_s: float | None
    cost_ceiling: float | None
    session_cost_ceiling: float | None
    per_hour: float | None
    hour_parts: dict[str, float]
    hardware_cost: float | None
    currency: str | None
    kinds: list[Kind]
    notes: list[str]
    first: list[Start]
    plan_sha256: str


def explain(plan: Plan) -> Explanation:
    """What `plan` will do. Looks at up to 20,000 of its sessions."""
    experiment, cost = plan.experiment, plan.experiment.cost
    seen = _Seen(plan)
    duration_s = _duration_s(plan)
    parts = _hour(cost)
    per_hour = sum(parts.values()) if parts else None
    amounts = (seen.requests, seen.input_tokens, seen.output_tokens)
    requests, input_tokens, output_tokens = map(seen.total, amounts)
    each_requests, each_input, each_output = map(seen.mean, amounts)
    return Explanation(
        name=experiment.name,
        seed=experiment.seed,
        backend=experiment.backend.kind,
        workload=experiment.workload.kind,
        open_loop=plan.arrivals_ns is not None,
        load=_load_in_words(experiment.load),
        stop=_stop_in_words(experiment.load),
        sessions=plan.sessions,
        counted=plan.counted,
        warmup_sessions=plan.warmup_sessions,
        warmup_s=plan.warmup_ns / NS_PER_S,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        requests_per_session=each_requests,
        input_tokens_per_session=each_input,
        output_tokens_per_session=each_output,
        longest_prompt=seen.longest if seen.sessions else None,
        looked_at=seen.sessions,
        duration_s=duration_s,
        cost_ceiling=_ceiling(cost, *map(seen.billed, amounts)),
        session_cost_ceiling=_ceiling(cost, each_requests, each_input, each_output),
        per_hour=per_hour,
        hour_parts=parts,
        hardware_cost=None if per_hour is None or duration_s is None else per_hour * duration_s / 3600,
        currency=cost.currency if cost else None,
        kinds=_kinds(seen.kinds),
        notes=plan.workload.notes() if isinstance(plan.workload, Noted) else [],
        first=_first(plan),
        plan_sha256=plan.sha256,
    )


class _Seen:
    """The sessions of a plan that were looked at, and what they hold together. `kinds` has sessions, requests and
    tokens of each kind."""

    def __init__(self, plan: Plan) -> None:
        self.requests = self.input_tokens = self.output_tokens = self.longest = 0
        self.kinds: dict[str, NDArray[np.int64]] = {}
        self._planned, self._solo = plan.sessions, plan.experiment.load.solo
        indices = plan.sampled(LOOKED_AT, _UNBOUNDED)
        self.sessions = len(indices)
        for index in indices:
            self._add(plan.session(index))

    def _add(self, session: Session) -> None:
        asked = sum(node.input_tokens for node in session.nodes)
        answered = sum(node.output_tokens for node in session.nodes)
        self.requests += len(session.nodes)
        self.input_tokens += asked
        self.output_tokens += answered
        self.longest = max(self.longest, *(node.input_tokens for node in session.nodes))
        row = self.kinds.setdefault(session.kind, np.zeros(3, np.int64))
        row += (1, len(session.nodes), asked + answered)

    def mean(self, found: int) -> float | None:
        """By session."""
        return found / self.sessions if self.sessions else None

    def total(self, found: int) -> int | None:
        """Of the whole plan, where that has a number of sessions."""
        return None if self._planned is None else self._scaled(found, self._planned)

    def billed(self, found: int) -> int | None:
        """As `total`, with the sessions that are replayed alone: at most load.solo and the one before them."""
        if self._planned is None:
            return None
        again = min(self._solo + 1, self._planned) if self._solo else 0
        return self._scaled(found, self._planned + again)

    def _scaled(self, found: int, sessions: int) -> int:
        return round(found * sessions / self.sessions) if self.sessions else 0


def _kinds(counted: dict[str, NDArray[np.int64]]) -> list[Kind]:
    whole = sum(counted.values(), np.zeros(3, np.int64))
    shares = {kind: (row / whole).tolist() for kind, row in counted.items()}
    return [
        Kind(kind=kind, sessions=sessions, requests=requests, tokens=tokens)
        for kind, (sessions, requests, tokens) in sorted(shares.items(), key=lambda item: (-item[1][0], item[0]))
    ]


def _duration_s(plan: Plan) -> float | None:
    """How long sessions start: to the last arrival where a count ends them, else to the limit."""
    offsets, load = plan.arrivals_ns, plan.experiment.load
    if offsets is not None:
        warm = int((offsets < plan.warm_ns).sum()) if plan.warmup_ns else load.warmup_sessions
        if plan.start_limit_ns is None or len(offsets) - warm == load.sessions:
            return int(offsets[-1]) / NS_PER_S if len(offsets) else 0.0
    return None if plan.start_limit_ns is None else plan.start_limit_ns / NS_PER_S


def _ceiling(
    cost: Cost | None, requests: float | None, input_tokens: float | None, output_tokens: float | None
) -> float | None:
    if cost is None or cost.price is None or requests is None or input_tokens is None or output_tokens is None:
        return None
    price = cost.price
    dearest = max(price.input, price.cache_write or 0.0) * input_tokens
    dearest += max(price.output, price.reasoning or 0.0) * output_tokens
    return dearest / 1e6 * price.batch_factor + price.per_request * requests


def _hour(cost: Cost | None) -> dict[str, float]:
    """What an hour of the hardware is made of; empty where none is paid for."""
    if cost is None or cost.price is not None:
        return {}
    if cost.owned is not None:
        return owned_hour(cost.owned.model_dump(exclude_none=True), cost.owned.kw)
    return {} if cost.gpu_hour is None else rented_hour(cost.gpu_hour, cost.gpus)


def _first(plan: Plan) -> list[Start]:
    offsets = plan.arrivals_ns if plan.arrivals_ns is not None else plan.slots_ns
    assert offsets is not None
    count = min(_FIRST, len(offsets), len(offsets) if plan.sessions is None else plan.sessions)
    sessions = [plan.session(index) for index in range(count)]
    return [
        Start(
            at_s=int(offset) / NS_PER_S,
            session=session.id,
            requests=len(session.nodes),
            input_tokens=sum(node.input_tokens for node in session.nodes),
            output_tokens=sum(node.output_tokens for node in session.nodes),
        )
        for offset, session in zip(offsets[:count], sessions, strict=True)
    ]


def _load_in_words(load: LoadConfig) -> str:
    if load.concurrency is not None:
        spread = f", started over {format_duration(load.ramp)}" if load.ramp else ""
        return f"closed loop: {load.concurrency} sessions live at any time{spread}"
    if load.arrivals == "trace":
        if load.trace is None:
            return "partly open loop: sessions arrive as in the trace that is replayed"
        return f"partly open loop: sessions arrive as in {load.trace}, time × {load.time_scale or 1:g}"
    how = f"gamma, cv {load.cv:g}" if load.arrivals == "gamma" else str(load.arrivals)
    ramp = f", rising over the first {format_duration(load.ramp)}" if load.ramp else ""
    return f"partly open loop: {format_number(load.rate)} sessions arrive a second ({how}){ramp}"


def _stop_in_words(load: LoadConfig) -> str:
    ends = []
    if load.sessions is not None:
        ends.append(f"{load.sessions} sessions")
    if load.measured_s is not None:
        ends.append(format_duration(load.measured_s))
    warmup = ""
    if load.warmup_sessions:
        warmup = f", after {load.warmup_sessions} sessions of warm-up"
    elif load.warmup_s:
        warmup = f", after {format_duration(load.warmup_s)} of warm-up"
    solo = ""
    if load.solo:
        solo = f"; then {load.solo} sessions once more, each alone, for {format_duration(load.solo_for)} at most"
    return " or ".join(ends) + (", whichever is first" if len(ends) > 1 else "") + warmup + solo
