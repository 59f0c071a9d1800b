"""How much later does everything arrive through `harness record`? Each event and each request, through it and direct.

    python tests/benchmarks/proxy_latency.py
    python tests/benchmarks/proxy_latency.py --streams 256 --requests 512 --prompt-kb 400

A C client streams from a C server that keeps the time of every send, direct and through the proxy in turn. An event's
delay is the kernel's receive time at the client less the server's time of sending; a request's is from the client's
sending to the server's reading of its last byte; the first on each connection, which are made all at once, stand apart.
What the proxy adds is the difference of the same quantile. Beside that load one conversation grows to `--prompt-kb`,
since what is recorded must not delay what is forwarded. All streams are in step, so their events come all at once.

Every event that was sent must have arrived: it ends with 1 where one is missing, or where an event at p99 comes more
than 1 ms later than direct.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from binaries import CACHE, build
from clients.floor import Floor
from comparison import quantile
from process_tree import watch
from scenario import Scenario
from server import serving
from told import Seconds
from truth import cores

LIMIT_S = 0.001
_LIMIT_RUN_S = 300.0
_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))


@dataclass(frozen=True, slots=True)
class Delays:
    """Of one run: seconds from sending to arrival, how many events never arrived, and the proxy's CPU time."""

    events_s: Seconds
    requests_s: Seconds  # on connections that stood
    firsts_s: Seconds  # the first on each connection: all are made at once
    lost: int
    cpu_s: float


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def recorded(target: str, folder: Path) -> Iterator[tuple[str, int]]:
    """`harness record` before the target until the block ends; gives its URL and process."""
    command = [sys.executable, "-m", "harness", "record", "--target", target, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--out", str(folder / "trace.jsonl")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("listening on ").removesuffix("/v1")
        time.sleep(1)  # what is slow at its start is not its delay
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        print(f"    {said.strip()}", file=sys.stderr)
    if process.returncode:
        raise SystemExit(f"harness record ended with {process.returncode}: {said}")


class Talk(threading.Thread):
    """One conversation whose prompt grows to so many kilobytes, over and over again, until it is stopped."""

    def __init__(self, url: str, kilobytes: int) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self._at = url.removeprefix("http://")
        self._turns = [f"turn {number} " + "a word of it " * 1500 for number in range(max(1, kilobytes // 20))]
        self._stopped = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._at, timeout=60)
        messages: list[dict[str, str]] = []
        while not self._stopped.is_set():
            if len(messages) >= 2 * len(self._turns):
                messages.clear()
            messages.append({"role": "user", "content": self._turns[len(messages) // 2]})
            body = json.dumps({"model": "m", "messages": messages, "max_tokens": 2}).encode()
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            said = json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]
            messages.append({"role": "assistant", "content": said})
            self.answers += 1
            self._stopped.wait(0.02)
        connection.close()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def run(scenario: Scenario, *, through: bool, prompt_kb: int) -> Delays:
    """Once, direct or through the proxy."""
    where = cores()
    client = Floor("kernel")
    folder = CACHE / "runs" / f"proxy-{'through' if through else 'direct'}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "truth"

    def ask(url: str) -> None:
        talk = Talk(url, prompt_kb)
        if prompt_kb:
            talk.start()
        command = client.command(scenario, url, folder)
        usage = watch(command.argv, cores=set(where.client), output=folder / "output.txt", limit_s=_LIMIT_RUN_S)
        if prompt_kb:
            talk.stop()
            print(f"    {talk.answers} answers in the conversation beside", file=sys.stderr)
        if usage.code != 0:
            raise SystemExit(f"the client ended with {usage.code}: {(folder / 'output.txt').read_text()[-800:]}")

    spent = 0.0
    pace = {"ttft_ms": scenario.ttft_ms, "itl_ms": scenario.itl_ms}
    with serving(build("mock"), log, core=where.server, **pace) as server:
        if through:
            with recorded(f"{server.url}/v1", folder) as (url, pid):
                begin = cpu_s(pid)
                ask(url)
                spent = cpu_s(pid) - begin
        else:
            ask(server.url)
    true = server.truth().by_id()
    events, requests, firsts, lost = [], [], [], 0
    seen: set[int] = set()
    for line in (folder / "stamps.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        answer = true[told["id"]]
        came = np.array(told["stamps"], dtype=np.int64) + told["sent"]
        lost += abs(len(answer.events_ns) - len(came))
        if len(answer.events_ns) == len(came):
            events.append((came - answer.events_ns) / 1e9)
        (requests if answer.connection in seen else firsts).append((answer.complete_ns - told["sent"]) / 1e9)
        seen.add(answer.connection)
    lost += (
        sum(len(answer.events_ns) for answer in true.values() if answer.id) - sum(map(len, events)) if not lost else 0
    )
    return Delays(np.concatenate(events), np.array(requests), np.array(firsts), lost, spent)


def row(name: str, values: Seconds) -> str:
    return f"{name:32}" + "".join(f"{quantile(values, q) * 1e6:>10,.0f}" for _, q in _QUANTILES)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--itl-ms", type=float, default=20.0)
    parser.add_argument("--prompt-kb", type=int, default=200, help="of the conversation beside; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    wanted = parser.parse_args()
    scenario = Scenario(
        name="proxy",
        title="",
        requests=wanted.requests,
        tokens=wanted.tokens,
        ttft_ms=wanted.ttft_ms,
        itl_ms=wanted.itl_ms,
        concurrency=wanted.streams,
    )
    runs: dict[bool, list[Delays]] = {False: [], True: []}
    for _ in range(wanted.repeats):
        for through in (False, True):
            runs[through].append(run(scenario, through=through, prompt_kb=wanted.prompt_kb))
    delays = {
        "event": {way: np.concatenate([each.events_s for each in runs[way]]) for way in runs},
        "request": {way: np.concatenate([each.requests_s for each in runs[way]]) for way in runs},
        "first request": {way: np.concatenate([each.firsts_s for each in runs[way]]) for way in runs},
    }
    print(f"{'us':32}" + "".join(f"{name:>10}" for name, _ in _QUANTILES))
    for what, both in delays.items():
        print(row(f"{what}, direct", both[False]))
        print(row(f"{what}, through the proxy", both[True]))
        added = [quantile(both[True], q) - quantile(both[False], q) for _, q in _QUANTILES]
        print(f"{what + ', added':32}" + "".join(f"{value * 1e6:>10,.0f}" for value in added))
    events = delays["event"]
    lost = sum(each.lost for each in (*runs[False], *runs[True]))
    print(
        f"events                  {len(events[True]):,} through the proxy, {len(events[False]):,} direct, {lost} lost"
    )
    spent = sum(each.cpu_s for each in runs[True]) / len(events[True])
    print(f"CPU of the proxy        {spent * 1e6:,.0f} us an event")
    late = quantile(events[True], 0.99) - quantile(events[False], 0.99) > LIMIT_S
    return 1 if lost or late else 0


if __name__ == "__main__":
    sys.exit(main())
