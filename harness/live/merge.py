"""Several workers as one: counts and histograms add up, health is that of the worst."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records.snapshot import Health, LogHistogram, Snapshot

MERGED = -1  # the `worker` of a sum

_SUMS = (
    *("live_sessions", "live_requests", "sessions_started", "sessions_done", "sessions_failed"),
    *("requests_sent", "requests_ok", "requests_failed"),
    *("events", "output_tokens", "input_tokens", "bytes_in", "bytes_out"),
)
_ADDED_HEALTH = {"limit_waits", "rss_bytes", "clock_steps", "resends"}
_PHASES = ("warmup", "measure", "drain")


def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The sum over workers, at the time of the latest of them. Nothing yet is an empty snapshot at time 0.

    The phase is the earliest any worker is in. Lags, pauses and CPU shares are the largest, since one bad
    worker spoils its share of the figures whatever the others do.
    """
    total = Snapshot(worker=MERGED, t_ns=max((one.t_ns for one in snapshots), default=0))
    for name in _SUMS:
        setattr(total, name, sum(getattr(one, name) for one in snapshots))
    total.phase = min((one.phase for one in snapshots), key=_order, default="warmup")
    for one in snapshots:
        for error, number in one.errors.items():
            total.errors[error] = total.errors.get(error, 0) + number
    total.ttft = _added([one.ttft for one in snapshots])
    total.tpot = _added([one.tpot for one in snapshots])
    total.e2e = _added([one.e2e for one in snapshots])
    total.health = _worst([one.health for one in snapshots])
    return total


def _order(phase: str) -> int:
    return _PHASES.index(phase) if phase in _PHASES else len(_PHASES)


def _added(histograms: Sequence[LogHistogram]) -> LogHistogram:
    total = LogHistogram()
    for histogram in histograms:
        total.merge(histogram)
    return total


def _worst(healths: Sequence[Health]) -> Health:
    worst = Health()
    for name in Health.__struct_fields__:
        known = [value for value in (getattr(health, name) for health in healths) if value is not None]
        if known:
            setattr(worst, name, sum(known) if name in _ADDED_HEALTH else max(known))
    return worst
