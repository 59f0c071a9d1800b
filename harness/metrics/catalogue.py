"""Every metric by name: its unit, what one sample of it is, and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from harness.metrics import latency
from harness.metrics.summary import CostFigures, EnergyFigures, Rates
from harness.metrics.table import Floats, RecordTable, counts

Level = Literal["request", "event", "session", "join"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`unit` is `s`, `tokens`, `tokens/s`, `share`, `count`, `ratio` or `money`. `by_row` is None where `Samples` needs
    more than the records to compute it. `field` is the column of `SessionTable` for sessions and joins.
    """

    unit: str
    level: Level
    by_row: Callable[[RecordTable], Floats] | None = None
    field: str = ""


METRICS: dict[str, Metric] = {
    "ttft": Metric("s", "request", latency.ttft),
    "ttfo": Metric("s", "request", latency.ttfo),
    "tpot": Metric("s", "request", latency.tpot),
    "itl": Metric("s", "event"),
    "e2e": Metric("s", "request", latency.e2e),
    "ttft_intended": Metric("s", "request", latency.ttft_intended),
    "e2e_intended": Metric("s", "request", latency.e2e_intended),
    "queue_lag": Metric("s", "request", latency.queue_lag),
    "connect": Metric("s", "request", latency.connect),
    "interactivity": Metric("tokens/s", "request", latency.interactivity),
    "stall_time": Metric("s", "request", latency.stall_time),
    "max_gap": Metric("s", "request", latency.max_gap),
    "fluidity": Metric("share", "request"),
    "input_tokens": Metric("tokens", "request", lambda table: counts(table.input_tokens)),
    "output_tokens": Metric("tokens", "request", lambda table: counts(table.output_tokens)),
    "session.makespan": Metric("s", "session", field="makespan"),
    "session.ttfat": Metric("s", "session", field="ttfat"),
    "session.slowdown": Metric("ratio", "session"),
    "session.critical_path": Metric("s", "session", field="critical_path"),
    "session.critical_path.prefill": Metric("s", "session", field="prefill"),
    "session.critical_path.decode": Metric("s", "session", field="decode"),
    "session.critical_path.gap": Metric("s", "session", field="gap"),
    "session.critical_path.lag": Metric("s", "session", field="lag"),
    "session.requests": Metric("count", "session", field="requests"),
    "session.tokens": Metric("tokens", "session", field="tokens"),
    "session.cost": Metric("money", "session"),
    "session.straggler": Metric("s", "join", field="join_straggler"),
    "session.parallel_efficiency": Metric("share", "join", field="join_efficiency"),
}

# These say nothing about how well an answer came, so a failure is no miss of theirs. A slowdown does, but is known of a
# sample only, among which the failures of all would weigh too much.
NEVER_MISSED = frozenset(
    {
        *("queue_lag", "connect", "input_tokens", "output_tokens"),
        *("session.requests", "session.tokens", "session.cost", "session.slowdown"),
    }
)

_RATES = {field: "/h" if field.endswith("_per_hour") else "/s" for field in Rates.__struct_fields__}
_ENERGY = dict.fromkeys(("joules", "j_per_output_token", "j_per_request", "j_per_session", "j_per_good_session"), "J")


def _money(struct: type[msgspec.Struct]) -> list[str]:
    return [field for field in struct.__struct_fields__ if field == "total" or field.startswith("per_")]


# Figures of the whole run that have one value and no distribution. Rates can be named with and without `rates.`.
SCALARS: dict[str, str] = {
    "error_rate": "share",
    **{f"rates.{name}": unit for name, unit in _RATES.items()},
    **_RATES,
    **{f"cost.{name}": "money" for name in (*_money(CostFigures), "at_slo")},
    **{f"energy.{name}": unit for name, unit in _ENERGY.items() if name in EnergyFigures.__struct_fields__},
    "wire.in_per_output_token": "bytes",
    "wire.out_per_output_token": "bytes",
}


def scalar(summary: Any, name: str) -> float | None:
    """The value of a scalar in a summary; None where it is unknown or was not measured."""
    if name == "error_rate":
        requests = summary.counts.requests
        ended = requests.ok + requests.failed
        return requests.failed / ended if ended else None
    room, _, field = name.rpartition(".")
    part = getattr(summary, room or "rates")
    value = None if part is None else getattr(part, field)
    return None if value is None else float(value)
