"""What it costs to be watched: CPU of snapshots, dashboard and page at 2,000 streams, as shares of one core.

    python tests/benchmarks/live.py --streams 2000 --seconds 60

Plays the paths that a run plays four times a second, with tallies as large as those of such a run at its end: the
worker makes its snapshot and encodes it; the parent decodes one from each worker, merges them, and paints terminal and
page. Times are CPU times of this process, so other work on the machine changes them little. Exits 1 where the worker's
or the parent's share is above --most.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import sys
import time
from collections.abc import Callable

from rich.console import Console

from harness.live.dashboard import Dashboard
from harness.live.merge import merge
from harness.live.page import LivePage
from harness.live.progress import Goal, Progress
from harness.load import messages
from harness.load.health import HealthMonitor
from harness.load.kernelclock import KernelClock
from harness.load.messages import Tick
from harness.load.scheduler import Scheduler
from harness.records.snapshot import Snapshot
from harness.units import NS_PER_S

_TICKS_PER_S = 4
_TOKEN_S, _TOKENS, _TTFT_S = 0.02, 128, 0.2  # the pace of the benchmarks: an answer takes 2.8 s
_BEATS_PER_S = 20
_ROUNDS = 100
_DRAW = random.Random(7)


def tally(requests: int, streams: int) -> Snapshot:
    """A worker's figures after so many requests."""
    made = Snapshot(worker=0, t_ns=0, phase="measure", live_sessions=streams, live_requests=streams)
    made.requests_sent = made.requests_ok = made.sessions_done = requests
    made.events = made.output_tokens = requests * _TOKENS
    made.errors = {"timeout": 3, "http_500": 2}
    for _ in range(requests):
        made.ttft.add(_DRAW.lognormvariate(-1.7, 0.5))
        made.tpot.add(_DRAW.lognormvariate(-3.9, 0.2))
        made.e2e.add(_DRAW.lognormvariate(1.0, 0.2))
    return made


def sent(monitor: HealthMonitor, clock: KernelClock) -> None:
    """What one more request leaves behind."""
    monitor.sent(round(_DRAW.expovariate(1e-5)))
    clock.delays_ns.extend((round(_DRAW.expovariate(1e-4)), round(_DRAW.expovariate(1e-4))))


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call, as a mean over many."""
    work()
    begin = time.process_time_ns()
    for _ in range(_ROUNDS):
        work()
    return (time.process_time_ns() - begin) / _ROUNDS / NS_PER_S


async def measure(streams: int, seconds: float, workers: int) -> dict[str, float]:
    """Shares of one core by part."""
    requests = round(streams * seconds / (_TTFT_S + _TOKENS * _TOKEN_S))
    figures, clock = tally(requests // workers, streams // workers), KernelClock()
    monitor = HealthMonitor(Scheduler(), lambda: clock)
    for _ in range(requests // workers):
        sent(monitor, clock)
    monitor._loop_lags.extend(round(_DRAW.expovariate(1e-5)) for _ in range(round(seconds * _BEATS_PER_S)))

    def tell() -> bytes:
        for _ in range(max(1, requests // round(seconds * _TICKS_PER_S) // workers)):
            sent(monitor, clock)
        figures.health = monitor.read()
        return messages.encode(Tick(snapshot=figures))

    line = tell()
    progress = Progress(Goal(name="live", duration_s=seconds, limits={"ttft.p95": 0.5, "e2e.p99": 9.0}, ceiling=1e5))
    dashboard = Dashboard(Console(file=io.StringIO(), force_terminal=True, width=120))
    dashboard.open()
    page = LivePage()

    def paint_page() -> None:
        page._due_ns = 0
        page.paint(progress)

    def merged() -> None:
        told = [messages.decode_from_worker(line) for _ in range(workers)]
        progress.add(merge([one.snapshot for one in told if isinstance(one, Tick)]), progress.t_ns + NS_PER_S // 4)

    shares = {
        "worker: snapshot and its line": cpu_s(tell) * _TICKS_PER_S,
        f"parent: decode and merge {workers}": cpu_s(merged) * _TICKS_PER_S,
        "parent: dashboard": cpu_s(lambda: dashboard.paint(progress)) * _TICKS_PER_S,
        "parent: page": cpu_s(paint_page) / LivePage.interval_s,
    }
    dashboard.close()
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the run has been going")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--most", type=float, default=0.01, help="share of a core")
    wanted = parser.parse_args()
    shares = asyncio.run(measure(wanted.streams, wanted.seconds, wanted.workers))
    for name, share in shares.items():
        print(f"{name:34} {share:8.3%} of a core")
    parent = sum(share for name, share in shares.items() if name.startswith("parent"))
    print(f"{'parent: all':34} {parent:8.3%} of a core")
    return 1 if max(parent, *shares.values()) > wanted.most else 0


if __name__ == "__main__":
    sys.exit(main())
