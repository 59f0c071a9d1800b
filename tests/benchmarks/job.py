"""One measurement: one client, one scenario, one server, each on cores of its own."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from binaries import CACHE
from clients.protocol import Client, Failed
from comparison import Figures, Pairs, arrival_figures, counted, pair_figures, told_figures, truth_figures
from ground_truth import Answer, Truth
from process_tree import Usage, watch
from scenario import Scenario
from server import serving
from told import Told

_AFTER_NS = 100_000_000  # a client may still be reading this long after the last event was sent
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where the server (and this program, which sleeps most of the time) and where the client may run."""

    server: int
    client: frozenset[int]


@dataclass(slots=True, kw_only=True)
class Result:
    """The figures of one run; `problem` tells why there are none, or why they cannot be trusted."""

    client: str
    scenario: str
    repeat: int
    problem: str = ""
    verdict: str | None = None
    figures: Figures = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything there is to know of one run, before it is made into figures."""

    usage: Usage
    truth: Truth
    told: Told
    answers: list[Answer]  # those that the client measured


def see(client: Client, scenario: Scenario, *, program: Path, cores: Cores) -> Seen:
    """Run it once.

    Raises:
        Failed: the client did not finish, or told nothing.
    """
    folder = CACHE / "runs" / "-".join(part for part in (client.name, scenario.name) if part).replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log, output = folder / "truth", folder / "output.txt"
    with serving(program, log, ttft_ms=scenario.ttft_ms, itl_ms=scenario.itl_ms, core=cores.server) as server:
        command = client.command(scenario, server.url, folder)
        usage = watch(command.argv, cores=set(cores.client), output=output, env=command.env, limit_s=_LIMIT_S)
    said = output.read_text(encoding="utf-8", errors="replace")
    if usage.code is None:
        raise Failed(f"not finished after {_LIMIT_S:g} s")
    if usage.code not in command.codes:
        raise Failed(f"ended with {usage.code}: {said.strip()[-800:]}")
    told, truth = client.told(scenario, folder, said), server.truth()
    answers = [answer for answer in counted(truth.streams, told, scenario.requests) if answer.whole]
    if not answers:
        raise Failed("the server has answered none of its requests to the end")
    return Seen(usage, truth, told, answers)


def measure(client: Client, scenario: Scenario, repeat: int, *, program: Path, cores: Cores) -> Result:
    """Run it once and work out all figures. What goes wrong is told in the result."""
    result = Result(client=client.name, scenario=scenario.name, repeat=repeat)
    try:
        seen = see(client, scenario, program=program, cores=cores)
    except Failed as error:
        result.problem = str(error)
        return result
    if len(seen.answers) != scenario.requests or seen.told.failed:
        result.problem = f"{len(seen.answers)} of {scenario.requests} answered, {seen.told.failed} failed"
    result.verdict = seen.told.verdict
    result.figures = {
        **cost_figures(seen, client),
        **truth_figures(seen.answers),
        **told_figures(seen.told),
        **pair_figures(Pairs.of(seen.told, seen.answers)),
        **(arrival_figures(seen.answers) if scenario.rate else {}),
        **seen.told.facts,
    }
    return result


def cost_figures(seen: Seen, client: Client) -> Figures:
    """CPU, time and memory. The load phase runs from the first counted request to just after the last event; its CPU is
    what the client counted itself, or else what was seen from outside (always kept beside it).
    """
    usage, answers = seen.usage, seen.answers
    begin = min(answer.begun_ns for answer in answers)
    end = max(int(answer.events_ns[-1]) for answer in answers) + _AFTER_NS
    events = sum(len(answer.events_ns) for answer in answers)
    seen_cpu = usage.cpu_between(begin, end, others_to_their_end=client.workers_are_load)
    load = seen_cpu if seen.told.load_cpu_s is None else seen.told.load_cpu_s
    first = min(answer.begun_ns for answer in (*seen.truth.streams, *seen.truth.others))
    return {
        "requests": float(len(answers)),
        "events": float(events),
        "load_cpu_s": load,
        "load_cpu_seen_s": seen_cpu,
        "load_wall_s": (end - _AFTER_NS - begin) / 1e9,
        "cpu_us_per_event": load * 1e6 / events,
        "cpu_us_per_request": load * 1e6 / len(answers),
        "process_cpu_s": usage.cpu_s,
        "process_cpu_us_per_event": usage.cpu_s * 1e6 / events,
        "wall_s": usage.wall_s,
        "first_request_s": (first - usage.started_ns) / 1e9,
        "first_counted_s": (begin - usage.started_ns) / 1e9,
        "peak_rss_bytes": float(usage.peak_rss_bytes),
        "connections": float(seen.truth.connections),
        "blocked_sends": float(seen.truth.blocked_sends),
    }
