"""Pieces of text that the dashboard and the plain lines share."""

from __future__ import annotations

import unicodedata

from harness.records.snapshot import Health, Snapshot
from harness.units import NS_PER_S, THIN, format_duration, format_share

_UNTOLD = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def clock(t_ns: int | float) -> str:
    """`00:41`, `1:02:03`."""
    minutes, seconds = divmod(int(t_ns // NS_PER_S), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def whole(number: int) -> str:
    """A count, with thin separators."""
    return f"{number:,}".replace(",", THIN)


def errors(snapshot: Snapshot, most: int = 3) -> str:
    """`3 (timeout 2, http_500 1)`: failed requests, the commonest errors by name."""
    if not snapshot.requests_failed:
        return "0"
    ranked = sorted(snapshot.errors.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{plain(name)} {whole(number)}" for name, number in ranked[:most]]
    if len(ranked) > most:
        named.append("…")
    return whole(snapshot.requests_failed) + (f" ({', '.join(named)})" if named else "")


def client(health: Health, ceiling_share: float | None = None) -> tuple[bool, tuple[str, ...]]:
    """Whether the load generator keeps up, and how we know. It warns at half of what makes a run invalid."""
    late = health.kernel_delay_p99_s is None and health.loop_lag_p99_s > 0.005
    fine = not (late or health.cpu_share > 0.425 or health.send_lag_p99_s > 0.005)
    parts = ["ok" if fine else "strained", f"loop lag p99 {format_duration(health.loop_lag_p99_s, 2)}"]
    if health.send_lag_p99_s > 0.005:
        parts.append(f"send lag p99 {format_duration(health.send_lag_p99_s, 2)}")
    parts.append(f"busiest worker {format_share(health.cpu_share, 2)} of a core")
    if ceiling_share is not None:
        parts.append(f"{format_share(ceiling_share, 2)} of this machine's ceiling")
    return fine, tuple(parts)


def plain(text: str, limit: int = 60) -> str:
    """Foreign text without control characters, on one line."""
    told = "".join("\ufffd" if unicodedata.category(char) in _UNTOLD else char for char in text)
    return told if len(told) <= limit else told[: limit - 1] + "…"
