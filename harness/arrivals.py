"""Arrivals: pure functions from (seed, parameters) to the instants at which sessions start.

All return sorted int64 nanoseconds from the start of load. There is one schedule for the whole run: workers
take their share of it by index, so the process stays what it is for any number of workers.

A process is made at unit rate and then brought onto the clock by the inverse of the cumulative rate, so that
a ramp bends time and not the process [Cinlar, "Introduction to Stochastic Processes", 1975: time change of a
renewal process].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.units import NS_PER_S

Offsets = NDArray[np.int64]
_Unit = NDArray[np.float64]

MOST = 20_000_000  # arrivals in one schedule: 160 MB
_BLOCK = 4096

# Streams of the seed. Sessions have the streams 0, 1, 2, ..., so these lie at the far end.
_ARRIVALS, _STARTS = 2**64 - 1, 2**64 - 2


def constant(rate: float, *, ramp_ns: int = 0, count: int | None = None, until_ns: int | None = None) -> Offsets:
    """Equal gaps of 1/rate, the first arrival at 0."""
    return _schedule(
        lambda first, size: np.arange(first, first + size, dtype=np.float64), rate, ramp_ns, count, until_ns
    )


def poisson(
    rate: float, seed: int, *, ramp_ns: int = 0, count: int | None = None, until_ns: int | None = None
) -> Offsets:
    """A Poisson process: independent exponential gaps."""
    rng = _rng(seed, _ARRIVALS)
    return _schedule(_running(rng.standard_exponential), rate, ramp_ns, count, until_ns)


def gamma(
    rate: float,
    cv: float,
    seed: int,
    *,
    ramp_ns: int = 0,
    count: int | None = None,
    until_ns: int | None = None,
) -> Offsets:
    """Gamma gaps with coefficient of variation `cv`: shape 1/cv^2; 1 is Poisson, 3 is bursty.

    The first gap is drawn from the equilibrium distribution (a uniform share of a length-biased gap), as if
    the
    process had always been running: otherwise a bursty one would begin with (cv^2 - 1) / 2 arrivals too many.
    """
    rng = _rng(seed, _ARRIVALS)
    shape = 1.0 / cv**2
    first = rng.random() * rng.standard_gamma(shape + 1.0) / shape

    def gaps(size: int) -> _Unit:
        return rng.standard_gamma(shape, size) / shape

    return _schedule(_running(gaps, first), rate, ramp_ns, count, until_ns)


def trace(
    offsets_s: Sequence[float], *, scale: float = 1.0, count: int | None = None, until_ns: int | None = None
) -> Offsets:
    """Recorded arrivals in seconds, each multiplied by `scale` (0.5 is twice as fast).

    Raises:
        ValueError: an offset is negative, not finite, or earlier than the one before it.
    """
    seconds = np.asarray(offsets_s, dtype=np.float64)
    if not np.isfinite(seconds).all() or (seconds < 0).any() or (np.diff(seconds) < 0).any():
        raise ValueError("a trace needs offsets that are finite, not negative and in order")
    return _cut(np.rint(seconds * (scale * NS_PER_S)).astype(np.int64), count, until_ns)


def closed_starts(slots: int, ramp_ns: int, seed: int) -> Offsets:
    """When each of `slots` live sessions of a closed loop starts first: at once, or spread over the ramp.

    Spread with one uniform draw in each n-th of the ramp, so that sessions do not move in step.
    """
    strata = np.arange(slots) + _rng(seed, _STARTS).random(slots)
    return np.floor(strata * (ramp_ns / slots)).astype(np.int64)


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array((seed, stream), dtype=np.uint64)))


def _running(gaps: Callable[[int], _Unit], first: float | None = None) -> Callable[[int, int], _Unit]:
    """Blocks of running sums of `gaps`; `first` stands for the first gap."""
    total = 0.0

    def block(start: int, size: int) -> _Unit:
        nonlocal total
        steps = gaps(size)
        if start == 0 and first is not None:
            steps[0] = first
        steps[0] += total
        sums = np.cumsum(steps)
        total = float(sums[-1])
        return sums

    return block


def _schedule(
    block: Callable[[int, int], _Unit], rate: float, ramp_ns: int, count: int | None, until_ns: int | None
) -> Offsets:
    """Arrivals of a unit-rate process: `count` of them, or those before `until_ns`, whichever is first.

    Raises:
        ValueError: neither bound is given, or they allow more than 20 million arrivals.
    """
    if count is None and until_ns is None:
        raise ValueError("a schedule needs a count or an end")
    parts: list[Offsets] = []
    made = 0
    while (count is None or made < count) and (not parts or until_ns is None or parts[-1][-1] < until_ns):
        if made >= MOST:
            raise ValueError(f"the schedule would hold more than {MOST:,} arrivals")
        size = _BLOCK if count is None else min(_BLOCK, count - made)
        parts.append(_on_the_clock(block(made, size), rate, ramp_ns))
        made += size
    return _cut(np.concatenate(parts) if parts else np.empty(0, np.int64), count, until_ns)


def _on_the_clock(unit: _Unit, rate: float, ramp_ns: int) -> Offsets:
    """Unit-rate instants -> nanoseconds, where the rate rises linearly from 0 over the ramp and then stays.

    Cumulative rate: rate t^2 / (2 R) for t < R, then rate (t - R / 2).
    """
    ramp_s = ramp_ns / NS_PER_S
    steady = unit * (NS_PER_S / rate)
    if ramp_ns:
        steady = np.where(
            unit < rate * ramp_s / 2, np.sqrt(unit * (2 * ramp_s / rate)) * NS_PER_S, steady + ramp_ns / 2
        )
    return np.rint(steady).astype(np.int64)


def _cut(offsets: Offsets, count: int | None, until_ns: int | None) -> Offsets:
    if until_ns is not None:
        offsets = offsets[: int(np.searchsorted(offsets, until_ns, side="left"))]
    return offsets if count is None else offsets[:count]
