"""Where a worker's time goes: one scenario played in this process, from its start to its last record.

    python tests/benchmarks/worker_profile.py short
    python tests/benchmarks/worker_profile.py paced-2048 --functions 30

Tells CPU time an event and a request, how much of it the kernel took, and peak memory. With `--functions` Python's
profiler watches too: good for what comes first, not for how long it takes, as each call then costs several times more.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import resource
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
from binaries import CACHE, build
from clients.ours import experiment
from scenario import FULL
from server import serving
from truth import cores

from harness.clock import now_ns
from harness.config import Experiment
from harness.load.loop import run
from harness.load.messages import Done, FromWorker, Start, Stop, WorkerSpec
from harness.load.reach import reach
from harness.load.worker import Worker


class Cpu(NamedTuple):
    """Seconds of this process."""

    user: float
    kernel: float

    @classmethod
    def now(cls) -> Cpu:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(used.ru_utime, used.ru_stime)


class Parent:
    """In the place of the pipe to the parent: starts the load once, and notes what it took."""

    def __init__(self, profiler: cProfile.Profile | None) -> None:
        self._profiler = profiler
        self._started = False
        self.before = self.after = Cpu.now()
        self.requests = 0

    async def receive(self) -> Start | Stop:
        if self._started:
            await asyncio.Event().wait()
        self._started = True
        self.before = Cpu.now()
        if self._profiler is not None:
            self._profiler.enable()
        return Start(at_ns=now_ns() + 10_000_000)

    def heard(self) -> bool:
        return True

    def say(self, message: FromWorker) -> None:
        if isinstance(message, Done):
            if self._profiler is not None:
                self._profiler.disable()
            self.after = Cpu.now()
            self.requests = message.snapshot.requests_ok


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", choices=[scenario.name for scenario in FULL])
    parser.add_argument("--functions", type=int, default=0, help="the most expensive functions to show")
    wanted = parser.parse_args()
    scenario = next(scenario for scenario in FULL if scenario.name == wanted.scenario)
    where = cores()
    records = CACHE / "worker_profile.jsonl"
    records.unlink(missing_ok=True)
    profiler = cProfile.Profile() if wanted.functions else None
    parent = Parent(profiler)
    log = CACHE / "worker_profile.truth"
    with serving(build("mock"), log, ttft_ms=scenario.ttft_ms, itl_ms=scenario.itl_ms, core=where.server) as server:
        os.sched_setaffinity(0, where.client)
        run(_play(Experiment.model_validate(experiment(scenario, server.url, 1)), records, parent))
    log.unlink(missing_ok=True)
    user, kernel = (after - before for after, before in zip(parent.after, parent.before, strict=True))
    events = parent.requests * (scenario.tokens + 3)  # the role, the finish and the usage too
    print(f"{scenario.name}: {parent.requests:,} requests, {events:,} events")
    cpu_us = (user + kernel) * 1e6
    print(f"  CPU       {cpu_us / events:.2f} us an event, {cpu_us / parent.requests:.1f} us a request")
    print(f"  kernel    {kernel / (user + kernel):.0%} of it")
    print(f"  peak RSS  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if profiler is not None:
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(wanted.functions)
    return 0


async def _play(config: Experiment, records: Path, parent: Parent) -> None:
    reached = await asyncio.to_thread(reach, config, config.backend)
    spec = WorkerSpec(
        experiment=config.model_dump(mode="json"),
        shard=0,
        shards=1,
        target=reached.target,
        endpoint=reached.endpoint,
        run_id="p",
        records_path=str(records),
        text_calibration=msgspec.to_builtins(reached.calibration),
        run_nonce="profile",
        warm_connections=reached.keeps_connections,
    )
    await Worker(spec, parent).run()  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
