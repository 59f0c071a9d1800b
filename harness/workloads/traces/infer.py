"""Recorded times -> what waited for what: the DAG behind calls of which only start, end and agent are known."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.workloads.traces.trace import TraceCall


class TimedCall(msgspec.Struct, kw_only=True, gc=False):
    """One call as it was seen. `input_tokens` is its whole prompt; `agent` tells its thread of calls."""

    start_s: float
    end_s: float
    input_tokens: int
    output_tokens: int
    agent: str = "main"


def follow(calls: Sequence[TimedCall]) -> list[TraceCall]:
    """Calls one after the other, in this order, whatever their times say of overlaps."""
    out: list[TraceCall] = []
    for place, call in enumerate(calls):
        before = place - 1 if place else None
        out.append(_traced(call, f"turn-{place + 1}", () if before is None else (before,), before, calls))
    return out


def infer(calls: Sequence[TimedCall]) -> list[TraceCall]:
    """Calls in order of their start, each with those it waited for.

    An agent's call has waited for that agent's calls, and those of the agents it had started, that had ended by then
    and that nothing had waited for yet. Where there are none, it runs beside the last one and has waited for the same.
    An agent's first call has waited for the call that ended last before it, whose agent has started this one.
    """
    ordered = sorted(calls, key=lambda call: (call.start_s, call.end_s))
    tips: dict[str, list[int]] = {}  # an agent's calls that nothing has waited for
    forked: dict[str, list[int]] = {}  # what its last call has waited for
    parent: dict[str, str] = {}
    numbers: dict[str, int] = {}
    depths: dict[str, int] = {}
    out: list[TraceCall] = []
    for place, call in enumerate(ordered):
        agent = call.agent
        if agent in tips:
            children = [child for child in tips if parent.get(child) == agent]
            threads = [agent, *(child for child in children if _ended(tips[child], ordered, call.start_s))]
            done = [tip for thread in threads for tip in tips[thread] if ordered[tip].end_s <= call.start_s]
            for thread in threads if done else ():
                tips[thread] = [tip for tip in tips[thread] if tip not in done]
            after = sorted(done) or forked[agent]
        else:
            ended = [earlier for earlier in range(place) if ordered[earlier].end_s <= call.start_s]
            after = [max(ended, key=lambda earlier: ordered[earlier].end_s)] if ended else []
            parent[agent] = ordered[after[0]].agent if after else ""
            depths[agent] = depths[parent[agent]] + 1 if after else 0
        tips.setdefault(agent, []).append(place)
        forked[agent] = after
        numbers[agent] = numbers.get(agent, 0) + 1
        mine = [earlier for earlier in after if ordered[earlier].agent == agent]
        name = f"step-{numbers[agent]}" if agent == "main" else f"{agent}.step-{numbers[agent]}"
        traced = _traced(call, name, tuple(after), mine[-1] if mine else None, ordered)
        traced.depth = depths[agent]
        out.append(traced)
    return out


def _ended(places: Sequence[int], calls: Sequence[TimedCall], by_s: float) -> bool:
    return bool(places) and all(calls[place].end_s <= by_s for place in places)


def _traced(
    call: TimedCall, name: str, after: tuple[int, ...], before: int | None, calls: Sequence[TimedCall]
) -> TraceCall:
    """The call with its gap. It continues `before` where its prompt is longer than all that was said there."""
    said = 0 if before is None else calls[before].input_tokens + calls[before].output_tokens
    continues = before is not None and call.input_tokens > said
    return TraceCall(
        name=name,
        after=after,
        history=before if continues else None,
        input_tokens=call.input_tokens - said if continues else call.input_tokens,
        output_tokens=call.output_tokens,
        gap_s=max(0.0, call.start_s - max(calls[place].end_s for place in after)) if after else 0.0,
        agent=call.agent,
    )
