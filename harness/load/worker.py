"""`python -m harness.load.worker`: one process, one loop, one shard of the plan.

Reads its spec as the first line of stdin, says `ready`, waits for `start`, plays, and says `done`. Its stdout speaks
only that protocol; a closed stdin means that the parent is gone, and ends it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import termios
from array import array
from contextlib import suppress
from math import ceil
from pathlib import Path

import msgspec

from harness import registry
from harness.backends.protocol import Dialect
from harness.clock import now_ns
from harness.config import Experiment
from harness.errors import ExitCode, HarnessError
from harness.load import messages
from harness.load.health import HealthMonitor
from harness.load.host import Hosted, host_engine
from harness.load.ledger import Ledger
from harness.load.limits import Limiter
from harness.load.loop import run
from harness.load.messages import Done, Failed, FromWorker, Ready, Start, Stop, Tick, WorkerSpec
from harness.load.opening import open_wire, with_secrets
from harness.load.player import Player
from harness.load.scheduler import Scheduler
from harness.load.tokenizer import counter
from harness.plan import make_plan
from harness.records.manifest import WorkerReport
from harness.records.snapshot import Snapshot
from harness.records.writer import RecordWriter
from harness.workloads.text import TextCalibration, TextMaker

_TICK_S = 0.25
_WARM_CONNECTIONS = 4096
_WARM_OPEN = 128  # open load: as many as arrive in a second, but no more than this


class _Pipe:
    """Lines from the parent, and lines to it."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._buffer = b""
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(0, self._readable)

    def _readable(self) -> None:
        data = os.read(0, 65536)
        if not data:
            _end_at_once()  # the parent is gone: nobody would read what we find
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line)

    async def receive(self) -> Start | Stop:
        message: Start | Stop = messages.decode_to_worker(await self._lines.get())
        return message

    def heard(self) -> bool:
        """Whether the parent has read all that was said. What is said to one that has stopped would wait, and the
        load with it, once the pipe is full."""
        waiting = array("i", [0])
        with suppress(OSError):  # no pipe
            fcntl.ioctl(self._out, termios.FIONREAD, waiting)
        return waiting[0] == 0

    def say(self, message: FromWorker) -> None:
        data = messages.encode(message) + b"\n"
        while data:
            data = data[os.write(self._out, data) :]


class Worker:
    """One shard and all it takes to play it."""

    def __init__(self, spec: WorkerSpec, pipe: _Pipe, hosted: Hosted | None = None) -> None:
        self._spec = spec
        self._hosted = hosted
        self._pipe = pipe
        experiment = Experiment.model_validate(spec.experiment)
        plan = make_plan(experiment)
        shard = plan.shard(spec.shard, spec.shards) if spec.solo is None else plan.alone(spec.solo)
        wanted = len(shard.slots()) or min(_WARM_OPEN, ceil((experiment.load.rate or 0) / spec.shards))
        self._connections = min(_WARM_CONNECTIONS, wanted) if spec.warm_connections else 0
        endpoint, hidden = with_secrets(spec.endpoint, experiment.backend)
        self._scheduler = Scheduler()
        self._wire = hosted.wire if hosted else open_wire(experiment.load.wire, endpoint)
        self._writer = RecordWriter(Path(spec.records_path))
        self._health = HealthMonitor(self._scheduler, lambda: getattr(self._wire, "kernel_clock", None))
        self._health.write_lag_s = lambda: self._writer.longest_write_s
        self._limiter = Limiter(experiment.limits, self._scheduler, spec.shard, spec.shards)
        self._ledger = Ledger(
            self._writer,
            worker=spec.shard,
            run_id=spec.run_id,
            secrets=hidden,
            count=counter(experiment.backend.tokenizer),
            uuids=spec.endpoint.request_ids == "uuid",
        )
        self._player = Player(
            shard,
            wire=self._wire,
            dialect=_make_dialect(experiment, spec),
            maker=TextMaker(msgspec.convert(spec.text_calibration, TextCalibration), spec.run_nonce),
            ledger=self._ledger,
            health=self._health,
            limiter=self._limiter,
            scheduler=self._scheduler,
        )
        self._interrupted = False

    async def run(self) -> None:
        """Ready, start, play, done."""
        await self._wire.open(self._connections)
        self._player.prepare()
        reached = self._hosted.reached if self._hosted else None
        self._pipe.say(Ready(worker=self._spec.shard, pid=os.getpid(), reached=reached))
        message = await self._pipe.receive()
        if isinstance(message, Start):
            await self._play(message.at_ns)
        done = Done(report=self._report(), snapshot=self._snapshot())
        await self._wire.close()  # an engine takes its time
        self._writer.close()
        self._pipe.say(done)

    async def _play(self, t0_ns: int) -> None:
        self._health.start()
        ticker = asyncio.create_task(self._tick())
        listener = asyncio.create_task(self._listen())
        try:
            await self._player.play(t0_ns)
        finally:
            ticker.cancel()
            listener.cancel()
            self._health.stop()

    async def _tick(self) -> None:
        """A few times a second: flush records, and tell the parent if it listens: figures are of all so far."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._writer.maybe_flush(now_ns())
            if self._pipe.heard():
                self._pipe.say(Tick(snapshot=self._snapshot()))

    async def _listen(self) -> None:
        while True:
            message = await self._pipe.receive()
            if isinstance(message, Stop):
                self._interrupted = True
                self._player.stop(drain=message.drain)

    def _snapshot(self, *, exact: bool = False) -> Snapshot:
        self._player.count_live()
        self._health.limit_waits = self._limiter.waits
        tally = self._ledger.tally
        tally.health = self._health.read(exact=exact)
        tally.health.resends = getattr(self._wire, "resends", 0)
        return tally

    def _report(self) -> WorkerReport:
        full_ns, dry_ns = self._player.marks
        tally = self._snapshot(exact=True)
        return WorkerReport(
            worker=self._spec.shard,
            full_ns=full_ns,
            dry_ns=dry_ns,
            end_ns=tally.t_ns,
            sessions_started=tally.sessions_started,
            sessions_finished=tally.sessions_done,
            sessions_failed=tally.sessions_failed,
            requests=tally.requests_sent,
            interrupted=self._interrupted,
            health=tally.health,
        )


def _end_at_once() -> None:
    """With all that an engine of ours has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ExitCode.UNEXPECTED)


def _make_dialect(experiment: Experiment, spec: WorkerSpec) -> Dialect:
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    dialect: Dialect = backend.dialect(spec.target)
    return dialect


async def _main(out: int) -> None:
    line = sys.stdin.buffer.readline()
    if not line:
        return
    pipe = _Pipe(out)
    spec = msgspec.json.decode(line, type=WorkerSpec)
    try:
        hosted = await host_engine(spec)
        await Worker(hosted.spec if hosted else spec, pipe, hosted).run()
    except HarnessError as error:
        pipe.say(Failed(message=error.message, remedy=error.remedy, exit_code=int(error.exit_code)))


def main() -> None:
    """Entry point of the process. SIGINT is the parent's business: it tells us to drain."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)  # a stray print must not look like a message
    run(_main(out))


if __name__ == "__main__":
    main()
