"""What a plan will do, in figures and words, before anything is sent."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.config import Cost, LoadConfig
from harness.hourly import owned_hour, rented_hour
from harness.plan.plan import Plan
from harness.units import NS_PER_S, format_duration, format_number
from harness.workloads.session import Noted

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
        sessions: all that may start, warm-up included; None where only time bounds them.
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
    experiment = plan.experiment
    indices = plan.sampled(LOOKED_AT, _UNBOUNDED)
    requests = input_tokens = output_tokens = longest = 0
    counted: dict[str, NDArray[np.int64]] = {}  # kind -> sessions, requests, tokens
    for index in indices:
        session = plan.session(index)
        asked = sum(node.input_tokens for node in session.nodes)
        answered = sum(node.output_tokens for node in session.nodes)
        requests += len(session.nodes)
        input_tokens += asked
        output_tokens += answered
        longest = max(longest, *(node.input_tokens for node in session.nodes))
        row = counted.setdefault(session.kind, np.zeros(3, np.int64))
        row += (1, len(session.nodes), asked + answered)
    seen = len(indices)

    def total(found: int) -> int | None:
        return None if plan.sessions is None else round(found * plan.sessions / seen) if seen else 0

    def mean(found: int) -> float | None:
        return found / seen if seen else None

    def billed(found: int) -> int | None:
        """As `total`, with the sessions that are replayed alone: at most load.solo and the one before them."""
        planned, solo = plan.sessions, experiment.load.solo
        if planned is None or not solo or not seen:
            return total(found)
        return round(found * (planned + min(solo + 1, planned)) / seen)

    duration_s = _duration_s(plan)
    cost = experiment.cost
    parts = _hour(cost)
    per_hour = sum(parts.values()) if parts else None
    return Explanation(
        name=experiment.name,
        seed=experiment.seed,
        backend=experiment.backend.kind,
        workload=experiment.workload.kind,
        open_loop=plan.arrivals_ns is not None,
        load=_load_in_words(experiment.load),
        stop=_stop_in_words(experiment.load),
        sessions=plan.sessions,
        warmup_sessions=plan.warmup_sessions,
        warmup_s=plan.warmup_ns / NS_PER_S,
        requests=total(requests),
        input_tokens=total(input_tokens),
        output_tokens=total(output_tokens),
        requests_per_session=mean(requests),
        input_tokens_per_session=mean(input_tokens),
        output_tokens_per_session=mean(output_tokens),
        longest_prompt=longest if seen else None,
        looked_at=seen,
        duration_s=duration_s,
        cost_ceiling=_ceiling(cost, billed(requests), billed(input_tokens), billed(output_tokens)),
        session_cost_ceiling=_ceiling(cost, mean(requests), mean(input_tokens), mean(output_tokens)),
        per_hour=per_hour,
        hour_parts=parts,
        hardware_cost=None if per_hour is None or duration_s is None else per_hour * duration_s / 3600,
        currency=cost.currency if cost else None,
        kinds=_kinds(counted),
        notes=plan.workload.notes() if isinstance(plan.workload, Noted) else [],
        first=_first(plan),
        plan_sha256=plan.sha256,
    )


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
    if offsets is not None and (
        plan.start_limit_ns is None or (load.sessions and len(offsets) == load.warmup_sessions + load.sessions)
    ):
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
