"""Parts of the `sessions` block of `summary.json`: what a session takes, reuses and waits for. Unknown is None."""

from __future__ import annotations

import msgspec


class PrefixReuse(msgspec.Struct, kw_only=True):
    """How much of the prompts the server took from its prefix cache.

    `measured` is H: cached over prompt tokens, as the server tells them. `ideal` is H*: the same requests with an
    infinite cache, from the plan. `capture` is H / H*. `requests` are those it rests on; `reason` says why a figure is
    unknown.
    """

    measured: float | None = None
    ideal: float | None = None
    capture: float | None = None
    requests: int = 0
    reason: str = ""


class Amplification(msgspec.Struct, kw_only=True):
    """What one session makes of one user's wish: means over the measured sessions."""

    sessions: int = 0
    requests: float | None = None
    input_tokens: float | None = None
    uncached_input_tokens: float | None = None
    cached_input_tokens: float | None = None
    output_tokens: float | None = None
    reasoning_tokens: float | None = None


class JoinFigures(msgspec.Struct, kw_only=True):
    """Joins of one fan-out, and the tail they ask of each branch. Times in seconds.

    To have the 95th percentile of a session at a fan-out of k, each branch must meet `quantile` = 0.95^(1/k) (Dean &
    Barroso 2013). `each` is that quantile of the measured branches; `slowest_p95` the 95th percentile of the slowest
    branch of a join, which it should equal where branches are independent of each other.
    """

    kind: str
    fan_out: int
    joins: int
    branches: int
    quantile: float
    each: float | None = None
    each_ci95: tuple[float, float] | None = None
    slowest_p95: float | None = None
    slowest_p95_ci95: tuple[float, float] | None = None
    straggler_p50: float | None = None
    efficiency_p50: float | None = None


class Slowdown(msgspec.Struct, kw_only=True):
    """Of how many sessions `session.slowdown` was asked and known; `reason` where it is unknown."""

    asked: int = 0
    sessions: int = 0
    reason: str = ""
