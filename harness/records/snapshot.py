"""A snapshot: what a worker tells about itself while it runs, a few times a second, for the live view.

Counts are cumulative since the start of load. Histograms are cumulative too: counts in logarithmic bins, so
that snapshots of several workers add up and a lost one does no harm.
"""

from __future__ import annotations

import math

import msgspec

BINS_PER_DECADE = 40
_LOWEST_S = 1e-6
_BINS = 9 * BINS_PER_DECADE  # 1 us .. 1000 s


class LogHistogram(msgspec.Struct):
    """Counts of durations in 40 logarithmic bins a decade (each 5.9 % wide). For live views only."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * _BINS)

    def add(self, seconds: float) -> None:
        index = 0 if seconds <= _LOWEST_S else int(math.log10(seconds / _LOWEST_S) * BINS_PER_DECADE)
        self.counts[min(index, _BINS - 1)] += 1

    def merge(self, other: LogHistogram) -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]

    def total(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The bin's geometric middle at quantile `q` (0..1), in seconds; None while empty."""
        total = sum(self.counts)
        if not total:
            return None
        wanted = q * total
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(_LOWEST_S * 10 ** ((index + 0.5) / BINS_PER_DECADE))
        return None


class Health(msgspec.Struct, kw_only=True):
    """How well a worker kept its own promises. Durations in seconds, shares of one core."""

    loop_lag_p99_s: float = 0.0
    loop_lag_max_s: float = 0.0
    send_lag_p99_s: float = 0.0
    send_lag_max_s: float = 0.0
    cpu_share: float = 0.0  # CPU seconds per second of wall time, this worker alone
    gc_pause_max_s: float = 0.0
    kernel_delay_p99_s: float | None = None  # kernel stamp to user read; None without kernel stamps
    limit_waits: int = 0  # requests that waited for a cap of `limits`
    write_lag_max_s: float = 0.0  # longest write of records to disk
    clock_steps: int = 0  # steps of the wall clock seen while kernel stamps were used
    resends: int = 0  # requests sent again because the server had closed the idle connection
    rss_bytes: int = 0


class Snapshot(msgspec.Struct, kw_only=True):
    """One worker at one moment. `t_ns` is on the run's axis."""

    worker: int
    t_ns: int
    phase: str = "warmup"
    live_sessions: int = 0
    live_requests: int = 0
    sessions_started: int = 0
    sessions_done: int = 0
    sessions_failed: int = 0
    requests_sent: int = 0
    requests_ok: int = 0
    requests_failed: int = 0
    errors: dict[str, int] = {}
    events: int = 0  # that carried output, of requests that have ended
    output_tokens: int = 0
    input_tokens: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ttft: LogHistogram = msgspec.field(default_factory=LogHistogram)
    tpot: LogHistogram = msgspec.field(default_factory=LogHistogram)
    e2e: LogHistogram = msgspec.field(default_factory=LogHistogram)
    health: Health = msgspec.field(default_factory=Health)
