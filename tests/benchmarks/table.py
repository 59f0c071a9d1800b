"""The results as Markdown: for each scenario what the clients cost, and how true they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medians import Medians
from scenario import Scenario

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """`value` takes the medians, the scenario's name and the client's."""

    title: str
    value: Callable[[Medians, str, str], str]


def show(value: float | None, scale: float = 1.0, unit: str = "") -> str:
    """Three significant digits."""
    if value is None:
        return NOTHING
    scaled = value * scale
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:,.{digits}f}{unit}"


def _one(title: str, name: str, scale: float = 1.0, unit: str = "") -> Column:
    return Column(title, lambda m, scenario, client: show(m.figure(scenario, client, name), scale, unit))


def _two(title: str, first: str, second: str, scale: float = 1.0) -> Column:
    def value(m: Medians, scenario: str, client: str) -> str:
        figures = (m.figure(scenario, client, first), m.figure(scenario, client, second))
        return NOTHING if figures == (None, None) else " / ".join(show(figure, scale) for figure in figures)

    return Column(title, value)


def _ratio(title: str, name: str) -> Column:
    return Column(title, lambda m, scenario, client: show(m.ratio(scenario, client, name), unit=" ×"))


COST = (
    _one("CPU µs / event", "cpu_us_per_event"),
    _ratio("to floor", "cpu_us_per_event"),
    _one("CPU µs / request", "cpu_us_per_request"),
    _one("whole process: CPU s", "process_cpu_s"),
    _one("wall s", "wall_s"),
    _two("start to first request: any / counted, s", "first_request_s", "first_counted_s"),
    _one("peak RSS MB", "peak_rss_bytes", 1e-6),
)
TRUTH = (
    _two("TTFT told p50 / p99, ms", "ttft_p50_s", "ttft_p99_s", 1e3),
    _two("true p50 / p99, ms", "true_ttft_p50_s", "true_ttft_p99_s", 1e3),
    _one("TTFT error p99, ms", "ttft_error_p99_s", 1e3),
    _two("ITL p99 told / true, ms", "itl_p99_s", "true_itl_p99_s", 1e3),
    _one("ITL error p99, µs", "itl_error_p99_s", 1e6),
)
CLOSED = (_two("live streams mean / max", "live_mean", "live_max"),)
OPEN = (
    _one("sent late p99 (told), ms", "send_lag_p99_s", 1e3),
    _one("arrived late p99 (true), ms", "lateness_p99_s", 1e3),
    _one("starts / s", "arrival_rate"),
    _one("gap CV", "arrival_gap_cv"),
    _one("lag-1 autocorrelation", "arrival_autocorrelation"),
)


def render(medians: Medians, scenarios: Sequence[Scenario]) -> str:
    """Two tables a scenario, and what went wrong under them."""
    parts = []
    for scenario in scenarios:
        clients = medians.clients(scenario.name)
        if not clients:
            continue
        truth = (*TRUTH, *(OPEN if scenario.rate else CLOSED))
        parts += [
            f"### {scenario.title[0].upper()}{scenario.title[1:]}; {scenario.requests:,} requests",
            _table(medians, scenario.name, clients, COST),
            _table(medians, scenario.name, clients, truth),
        ]
        parts += _notes(medians, scenario.name, clients)
    return "\n\n".join(parts)


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column is text, the others numbers."""
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])


def _table(medians: Medians, scenario: str, clients: Sequence[str], columns: Sequence[Column]) -> str:
    done = [client for client in clients if any(result.figures for result in medians.of(scenario, client))]
    body = [[client, *(column.value(medians, scenario, client) for column in columns)] for client in done]
    return rows(["client", *(column.title for column in columns)], body)


def _notes(medians: Medians, scenario: str, clients: Sequence[str]) -> list[str]:
    notes = [
        f"- {client}: {' '.join(p.split())[:300]}" for client in clients for p in medians.problems(scenario, client)
    ]
    for client in clients:
        said = medians.verdicts(scenario, client)
        notes += [f"- {client} calls {runs} of its {said.total()} runs {verdict}." for verdict, runs in said.items()]
    return ["\n".join(notes)] if notes else []
