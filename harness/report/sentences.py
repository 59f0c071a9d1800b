"""The sentences and lines of a story: what was asked of whom, and how much came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.metrics.summary import Summary
from harness.report.figures import Figure, clean, count, interval, spread, whole
from harness.units import format_duration, format_number

_SIZES = ("turns", "steps", "width", "rounds")
_RATES: Mapping[str, str] = {
    "output_tokens_per_s": "tok/s out",
    "total_tokens_per_s": "tok/s total",
    "requests_per_s": "requests/s",
    "goodput_requests_per_s": "good requests/s",
    "sessions_per_hour": "sessions/h",
    "goodput_sessions_per_hour": "good sessions/h",
    "offered_sessions_per_s": "offered sessions/s",
    "achieved_sessions_per_s": "achieved sessions/s",
}
_ALWAYS = ("output_tokens_per_s", "requests_per_s", "sessions_per_hour")


def section(experiment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the config; empty where it is missing."""
    value = experiment.get(name)
    return value if isinstance(value, Mapping) else {}


def target(summary: Summary) -> str:
    """`vllm 0.33 · tiny · http://gpu-1:8000/v1`."""
    told = summary.target
    engine = " ".join(filter(None, (told.engine or told.backend, told.engine_version)))
    return " · ".join(clean(part, 60) for part in (engine, told.model, told.url) if part)


def asked(summary: Summary, experiment: Mapping[str, Any], noun: str = "session") -> str:
    """`118 tasks (map_reduce, width 8), closed load: 32 at once, 60.0 s measured`."""
    sessions = summary.counts.sessions
    workload, load = section(experiment, "workload"), section(experiment, "load")
    text = count(sessions.finished + sessions.failed, noun)
    if workload:
        kind = [_kind(workload)]
        kind += [f"{key} {workload[key]}" for key in _SIZES if _plain(workload.get(key))]
        text += f" ({clean(', '.join(kind), 60)})"
    parts = [text]
    if load.get("rate") is not None:
        process = str(load.get("arrivals", "poisson"))
        process = "Poisson" if process == "poisson" else process
        parts.append(f"open load: {float(load['rate']):g}/s arriving ({clean(process, 20)})")
    elif load.get("concurrency") is not None:
        parts.append(f"closed load: {clean(load['concurrency'])} at once")
    if summary.run.window_s:
        parts.append(f"{format_duration(summary.run.window_s)} measured")
    return ", ".join(parts)


def _kind(workload: Mapping[str, Any]) -> str:
    """`map_reduce`; `mix of chat, orchestrator`."""
    kind, items = str(workload.get("kind", "")).rpartition("/")[2], workload.get("of")  # of a pattern's file its name
    if not isinstance(items, list):
        return kind
    names = [str(item.get("kind", "")) for item in items if isinstance(item, Mapping)]
    return f"{kind} of {', '.join(dict.fromkeys(names))}"


def _plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def requests(summary: Summary) -> str:
    """`1180 requests · 0 failed`."""
    told = summary.counts.requests
    return f"{count(told.sent, 'request')} · {whole(told.failed)} failed"


def rates(summary: Summary) -> list[tuple[str, Figure]]:
    """Every rate that was measured, with its interval where it has one; a dash for what the window could not tell."""
    unknown = any(finding.code == "rates_unknown" for finding in summary.validity.findings)
    told = []
    for name, words in _RATES.items():
        value = getattr(summary.rates, name)
        if value is not None:
            ci95 = summary.rates_ci95.get(name)
            ci95 = ci95 if ci95 and ci95[0] < ci95[1] else None
            half = spread(value, ci95, "") if ci95 else ""
            told.append((words, Figure(format_number(value), half, interval(ci95, ""), value=value)))
        elif unknown and name in _ALWAYS:
            told.append((words, Figure(format_number(value))))
    return told


def throughput(summary: Summary, noun: str = "session") -> str:
    """The rates in a line; where there is goodput, it stands for all sessions. `noun` is what these are called."""
    hidden = {"good requests/s", "offered sessions/s", "achieved sessions/s"}
    if summary.rates.goodput_sessions_per_hour is not None:
        hidden.add("sessions/h")
    bare = {"tok/s total", "requests/s"}
    parts = [
        f"{told.text} {told.spread if words not in bare else ''}".strip() + f" {words.replace('session', noun)}"
        for words, told in rates(summary)
        if words not in hidden
    ]
    if parts and summary.tokens.source == "estimate":
        parts.append("tokens are estimated")
    return " · ".join(parts)


def energy(summary: Summary) -> str:
    """Energy by token and session; nothing where it was not measured."""
    energy = summary.energy
    if energy is None or energy.joules is None:
        return ""
    parts = []
    if energy.j_per_output_token is not None:
        parts.append(f"{format_number(energy.j_per_output_token)} J per output token")
    if energy.j_per_session is not None:
        parts.append(f"{format_number(energy.j_per_session)} J per session")
    return " · ".join(parts or [f"{format_number(energy.joules)} J"])
