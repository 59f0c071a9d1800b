"""What harness is meant to reach, and what it did reach in this job.

Ratios are to the C floor on its own clock, in the same job. harness always writes all its records, so the limits are
those with records written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from medians import FLOOR, Medians
from table import rows, show

OURS = "harness"
RUST = "(Rust)"  # clients started bare
BARE = "vllm bench (Rust)"


@dataclass(frozen=True, slots=True)
class Target:
    """`limit` is the most that `value` may be, or the least where `least` is set; None: a mark, but no limit."""

    scenario: str
    what: str
    limit: float | None
    value: Callable[[Medians, str], float | None]
    unit: str = ""
    scale: float = 1.0
    least: bool = False


def _ratio(name: str, base: str = FLOOR) -> Callable[[Medians, str], float | None]:
    return lambda m, scenario: m.ratio(scenario, OURS, name, base=base)


def _figure(name: str) -> Callable[[Medians, str], float | None]:
    return lambda m, scenario: m.figure(scenario, OURS, name)


def _off(told: str, true: str) -> Callable[[Medians, str], float | None]:
    def value(m: Medians, scenario: str) -> float | None:
        a, b = m.figure(scenario, OURS, told), m.figure(scenario, OURS, true)
        return None if a is None or b is None else abs(a - b)

    return value


def _to_best_peer(name: str, *, bare: bool = True) -> Callable[[Medians, str], float | None]:
    """Our figure over the smallest of the peers' (floors and plain clients are no peers), with or without bare ones."""

    def value(m: Medians, scenario: str) -> float | None:
        peers = [c for c in m.clients(scenario) if not c.startswith((FLOOR, "plain", OURS)) and (bare or RUST not in c)]
        ratios = [ratio for peer in peers if (ratio := m.ratio(scenario, OURS, name, base=peer)) is not None]
        return max(ratios, default=None)

    return value


_CPU = "cpu_us_per_event"
TARGETS = (
    Target("paced-64", "CPU per event to the floor's", 3.75, _ratio(_CPU), " ×"),
    Target("paced-512", "CPU per event to the floor's", 3.0, _ratio(_CPU), " ×"),
    Target("paced-2048", "CPU per event to the floor's", 3.0, _ratio(_CPU), " ×"),
    Target("paced-2048", "CPU per event to the cheapest peer's", 1.0, _to_best_peer(_CPU), " ×"),
    Target("paced-2048", "TTFT p50 off the truth", 0.005, _off("ttft_p50_s", "true_ttft_p50_s"), " ms", 1e3),
    Target("paced-2048", "TTFT error p99 to the floor's", 1.5, _ratio("ttft_error_p99_s"), " ×"),
    Target("paced-2048", "live streams, mean", 1990, _figure("live_mean"), least=True),
    Target("back-to-back-64", "CPU per event to the floor's", 2.0, _ratio(_CPU), " ×"),
    Target("back-to-back-512", "CPU per event to the floor's", 2.0, _ratio(_CPU), " ×"),
    Target("short", "CPU per request to the floor's", 4.0, _ratio("cpu_us_per_request"), " ×"),
    Target("paced-512", "ITL error p99", 50e-6, _figure("itl_error_p99_s"), " µs", 1e6),
    Target("paced-2048", "ITL error p99", 1e-3, _figure("itl_error_p99_s"), " µs", 1e6),
    Target("paced-512", "TTFT error p99 to the floor's", 1.0, _ratio("ttft_error_p99_s"), " ×"),
    Target("open-constant", "sent late p99", 1e-3, _figure("send_lag_p99_s"), " ms", 1e3),
    Target("open-poisson", "sent late p99", 1e-3, _figure("send_lag_p99_s"), " ms", 1e3),
    Target(
        "back-to-back-64", "whole CPU to the cheapest tool's", 1.0, _to_best_peer("process_cpu_s", bare=False), " ×"
    ),
    Target("back-to-back-64", "whole CPU to vLLM's bare Rust client", None, _ratio("process_cpu_s", BARE), " ×"),
    Target("back-to-back-64", "start to first request", 0.8, _figure("first_request_s"), " s"),
    Target("back-to-back-64", "peak RSS", 150e6, _figure("peak_rss_bytes"), " MB", 1e-6),
)


def render(medians: Medians, summaries: Sequence[Mapping[str, float]]) -> str:
    """A table of all targets that this job could measure."""
    body = [_row(target, value) for target in TARGETS if (value := target.value(medians, target.scenario)) is not None]
    for one in summaries:
        what = f"{one['records']:,.0f} records of {one['tokens']:.0f} tokens to a summary"
        body.append(_row(Target("", f"{what}: time", 20.0, lambda *_: None, " s"), one["wall_s"]))
        body.append(_row(Target("", f"{what}: memory", 1.5e9, lambda *_: None, " MB", 1e-6), one["peak_rss_bytes"]))
    return rows(["target", "limit", "measured", ""], body)


def _row(target: Target, value: float) -> list[str]:
    what = f"{target.scenario}: {target.what}" if target.scenario else target.what
    measured = show(value, target.scale, target.unit)
    if target.limit is None:
        return [what, "–", measured, ""]
    met = value >= target.limit if target.least else value <= target.limit
    limit = f"{'≥' if target.least else '≤'} {show(target.limit, target.scale, target.unit)}"
    return [what, limit, measured, "met" if met else "**missed**"]
