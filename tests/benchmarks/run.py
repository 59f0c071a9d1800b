"""How fast and how true harness is, beside a C client, plain Python clients and other load generators.

    python tests/benchmarks/run.py --small     harness, floor, httpx and aiohttp; a few minutes
    python tests/benchmarks/run.py --full      more streams, the other tools, more repeats; an hour and more

All clients ask the same mock server in one job, alternating, server and client on cores of their own. The figures are
medians over the repeats and ratios within a repeat: times are of this machine alone. Nothing else should run on it.

Results go to .cache/bench/<time>-<form>.json; --full also writes its tables into docs/performance.md, between the two
marks there. A client that cannot be installed is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import targets
from binaries import CACHE, ROOT, Unbuildable, build
from clients import every_client, is_peer
from clients.protocol import Client, NotInstalled
from job import Cores, Result, measure
from medians import Medians
from scenario import FULL, SMALL, Scenario
from synthetic import summarise
from table import render, rows, show
from truth import cores

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def installed(clients: Sequence[Client]) -> tuple[list[Client], dict[str, str]]:
    """Those that can be had here, and why the others cannot."""
    here: list[Client] = []
    missing: dict[str, str] = {}
    for client in clients:
        try:
            client.install()
        except NotInstalled as error:
            missing[client.name] = " ".join(str(error).split())
        else:
            here.append(client)
    return here, missing


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each client runs. Other clients, which are slow, may run less often."""

    ours: int
    peers: int
    peer_scenarios: Sequence[str] = ()  # all, where none is named

    def in_turn(self, clients: Sequence[Client], scenario: Scenario) -> Iterator[tuple[int, Client]]:
        """All clients in turn; every second time in the opposite order."""
        if self.peer_scenarios and scenario.name not in self.peer_scenarios:
            clients = [client for client in clients if not is_peer(client)]
        for repeat in range(max(self.ours, self.peers)):
            order = clients if repeat % 2 == 0 else tuple(reversed(clients))
            yield from ((repeat, client) for client in order if repeat < (self.peers if is_peer(client) else self.ours))


def play(
    scenarios: Sequence[Scenario], clients: Sequence[Client], repeats: Repeats, program: Path, where: Cores
) -> Iterator[Result]:
    for scenario in scenarios:
        able = [client for client in clients if client.plays(scenario)]
        for repeat, client in repeats.in_turn(able, scenario):
            begin = time.monotonic()
            result = measure(client, scenario, repeat, program=program, cores=where)
            cpu = show(result.figures.get("cpu_us_per_event"), unit=" us/event")
            said = result.problem and f"  {' '.join(result.problem.split())[:100]}"
            took = f"{time.monotonic() - begin:5.1f} s"
            print(f"{scenario.name:18} {repeat + 1}  {client.name:22} {took}  {cpu}{said}", file=sys.stderr, flush=True)
            yield result


def machine(where: Cores) -> dict[str, Any]:
    """What this was measured on."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in facts if line.startswith("model name")]
    release = re.match(r"\d+\.\d+", platform.release())  # what a vendor adds to it says nothing to others
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {release[0] if release else ''}".rstrip(),
        "python": platform.python_version(),
        "load_average_before": os.getloadavg()[0],
        "server_core": where.server,
        "client_cores": sorted(where.client),
    }


def page(job: dict[str, Any], medians: Medians, scenarios: Sequence[Scenario]) -> str:
    """All that was measured, as Markdown."""
    on, versions = (
        job["machine"],
        ", ".join(f"{name} {version}" for name, version in job["versions"].items() if version),
    )
    peers = job["repeats"]["peers"]
    others = "" if peers == job["repeats"]["ours"] else f" ({peers} of other clients)"
    if job["repeats"]["peer_scenarios"]:
        others += f"; other clients only in {', '.join(job['repeats']['peer_scenarios'])}"
    parts = [
        f"Measured {job['date']} with `{job['command']}` on {on['cpu']}, {on['cores']} cores, "
        f"{on['memory_bytes'] / 2**30:.0f} GiB, {on['kernel']}, Python {on['python']}; server: {job['server']}. "
        f"Medians of {job['repeats']['ours']} alternating runs{others}. {versions}.",
        "### Targets",
        targets.render(medians, job["summaries"]),
        render(medians, scenarios),
    ]
    if job["summaries"]:
        parts += ["### Records to a summary", _summaries(job["summaries"])]
    if job["missing"]:
        parts += ["### Not installed", "\n".join(f"- {name}: {why}" for name, why in job["missing"].items())]
    return "\n\n".join(parts)


def _summaries(summaries: Sequence[dict[str, float]]) -> str:
    head = ["records", "tokens each", "file MB", "wall s", "CPU s", "peak RSS MB"]
    body = [
        [
            f"{one['records']:,.0f}",
            f"{one['tokens']:.0f}",
            show(one["file_bytes"], 1e-6),
            show(one["wall_s"]),
            show(one["cpu_s"]),
            show(one["peak_rss_bytes"], 1e-6),
        ]
        for one in summaries
    ]
    return rows(head, body)


def around(path: Path) -> tuple[str, str]:
    """The page before and after what is measured; of a new page, nothing.

    Raises:
        SystemExit: it is there but has no marks.
    """
    if not path.exists():
        return "", ""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {BEGIN} and {END}")
    return before, after


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--small", action="store_true", help="what make bench runs")
    form.add_argument("--full", action="store_true", help="everything")
    parser.add_argument("--repeats", type=int, help="runs of each client; 2 in the small form, 5 in the full one")
    parser.add_argument("--peer-repeats", type=int, help="runs of each other client; as many if not given")
    parser.add_argument("--peer-scenarios", nargs="+", metavar="NAME", default=[], help="other clients only in these")
    parser.add_argument("--referee", type=Path, help="another server program with the options of mock.c")
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--clients", nargs="+", metavar="NAME", help="only those whose names hold one of these")
    parser.add_argument("--requests", type=int, help="no more than this a run, to try things out")
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the summary in the full form")
    parser.add_argument("--vllm", type=Path, help="a venv with vllm in it, instead of one of our own")
    parser.add_argument(
        "--page", type=Path, help="write the tables here; default in the full form: docs/performance.md"
    )
    return parser.parse_args()


def main() -> int:
    wanted = arguments()
    try:
        program = wanted.referee or build("mock")
    except Unbuildable as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    target = wanted.page or (PAGE if wanted.full else None)
    if target is not None:
        around(target)  # before an hour of measuring
    where = cores()
    os.sched_setaffinity(0, {where.server})
    chosen = [s for s in (FULL if wanted.full else SMALL) if not wanted.scenarios or s.name in wanted.scenarios]
    scenarios = [scenario.at_most(wanted.requests) if wanted.requests else scenario for scenario in chosen]
    names = wanted.clients or [""]
    asked = [c for c in every_client(peers=wanted.full, vllm=wanted.vllm) if any(name in c.name for name in names)]
    clients, missing = installed(asked)
    ours = wanted.repeats or (5 if wanted.full else 2)
    repeats = Repeats(ours, wanted.peer_repeats or ours, wanted.peer_scenarios)
    job: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python", "tests/benchmarks/run.py", *map(shlex.quote, sys.argv[1:])]),
        "machine": machine(where),
        "server": "tests/benchmarks/mock.c" if wanted.referee is None else wanted.referee.name,
        "repeats": asdict(repeats),
        "versions": {client.name: client.version for client in clients},
        "missing": missing,
    }
    results: list[Result] = []
    try:
        for result in play(scenarios, clients, repeats, program, where):
            results.append(result)  # one by one: an interrupt loses only the run under way
    except KeyboardInterrupt:
        print("bench: interrupted; what was measured is told", file=sys.stderr)
    sizes = ((wanted.records, 16), (wanted.records // 8, 128))  # as many events
    job["summaries"] = [summarise(count, tokens) for count, tokens in sizes] if wanted.full else []
    job["results"] = [result.as_json() for result in results]
    text = page(job, Medians(results), scenarios)
    form, stamp = "full" if wanted.full else "small", datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    saved = CACHE / f"{stamp}-{form}.json"
    saved.write_text(json.dumps(job, indent=1), encoding="utf-8")
    print(text)
    print(f"wrote {saved}", file=sys.stderr)
    if target is not None:
        before, after = around(target)
        target.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after or chr(10)}", encoding="utf-8")
        print(f"wrote {target}", file=sys.stderr)
    return 1 if any(result.problem and result.client.startswith("harness") for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
