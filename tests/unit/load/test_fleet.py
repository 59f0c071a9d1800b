"""Workers as real processes against the simulated engine: what they say, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import registry
from harness.backends.protocol import Target
from harness.config import BackendConfig, Experiment
from harness.errors import ConfigError, HarnessError, TargetError, UsageError
from harness.load import fleet as fleet_module
from harness.load import messages
from harness.load.fleet import Fleet, auto_workers
from harness.load.messages import Done, Ready, Start, Stop, Tick, WorkerSpec
from harness.load.opening import endpoint_of
from harness.records.reader import Damage, read_records
from harness.records.snapshot import Snapshot


@pytest.fixture(scope="module")
def engine() -> Iterator[BackendConfig]:
    """The simulated engine in a process of its own: 5 ms to the first token, 1 ms between tokens."""
    backend = registry.load("harness.backends", "sim")
    with backend(backend.Params(ttft="5ms", itl="1ms", model="tiny")).launch() as params:
        yield params


def specs(
    folder: Path, params: BackendConfig, load: dict[str, Any], size: int = 1, **workload: Any
) -> list[WorkerSpec]:
    asked = Experiment.model_validate(
        {
            "seed": 5,
            "backend": params.model_dump(mode="json"),
            "workload": {"kind": "chat", "turns": 2, "think": 0, "output_tokens": 5, **workload},
            "load": load,
        }
    )
    return [
        WorkerSpec(
            experiment=asked.model_dump(mode="json"),
            shard=shard,
            shards=size,
            target=Target(backend=params.kind, url=str(params.url), model="tiny"),
            endpoint=endpoint_of(asked, params),
            run_id="run",
            records_path=str(folder / f"records-{shard}.jsonl"),
            text_calibration={},
            run_nonce="nonce",
        )
        for shard in range(size)
    ]


def records(folder: Path, damage: Damage | None = None) -> list[Any]:
    return list(read_records(sorted(folder.glob("records-*.jsonl")), damage))


def nothing(_snapshots: list[Snapshot], _t_ns: int) -> None:
    """Nobody looks."""


def test_a_fleet_plays_its_plan(tmp_path: Path, engine: BackendConfig) -> None:
    seen: list[tuple[int, int]] = []

    def look(snapshots: list[Snapshot], t_ns: int) -> None:
        seen.append((t_ns, sum(snapshot.requests_ok for snapshot in snapshots)))

    with Fleet(2) as fleet:
        assert fleet.size == 2 and len(set(fleet.pids)) == 2
        fleet.brief(specs(tmp_path, engine, {"concurrency": 4, "sessions": 60, "workers": 2}, size=2))
        reports = fleet.play(look)
    assert [report.worker for report in reports] == [0, 1]
    assert all(report.died is None and not report.interrupted for report in reports)
    assert sum(report.sessions_finished for report in reports) == 60
    assert sum(report.requests for report in reports) == 120
    assert seen[-1][1] == 120 and [at for at, _ in seen] == sorted(at for at, _ in seen)
    damage = Damage()
    found = records(tmp_path, damage)
    assert (damage.torn, damage.garbage) == (0, 0)
    assert len({record.id for record in found}) == 120
    assert {(record.status, record.output_tokens, record.chunks) for record in found} == {("ok", 5, 5)}
    assert all(0 <= record.sent_ns < record.first_token_ns <= record.last_token_ns <= record.end_ns for record in found)
    assert all(report.full_ns is not None and report.dry_ns is not None for report in reports)
    assert all(report.health.cpu_share > 0 and report.health.rss_bytes > 0 for report in reports)


def test_an_open_load_over_httpx(tmp_path: Path, engine: BackendConfig) -> None:
    load = {"rate": "100/s", "arrivals": "constant", "sessions": 10, "wire": "httpx"}
    with Fleet(1) as fleet:
        fleet.brief(specs(tmp_path, engine, load))
        [report] = fleet.play(nothing)
    assert report.died is None
    assert [record.status for record in records(tmp_path)] == ["ok"] * 20
    assert {record.clock for record in records(tmp_path)} == {"user"}


def after(seconds: float, act: Callable[[], Any]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


LONG = {"concurrency": 2, "sessions": 100_000}


def test_a_killed_worker_is_reported_and_its_records_count(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(2) as fleet:
        fleet.brief(specs(tmp_path, engine, {"concurrency": 4, "duration": "2s"}, size=2))
        after(1.3, lambda: os.kill(fleet.pids[1], signal.SIGKILL))
        alive, dead = fleet.play(nothing)
    assert alive.died is None and alive.requests > 50
    assert dead.died == "killed by signal 9"
    assert dead.requests > 20 and dead.health.rss_bytes > 0
    kept = [record for record in records(tmp_path) if record.worker == 1]
    assert len(kept) > 20 and all(record.status == "ok" for record in kept)


def test_stop_lets_answers_end(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(1) as fleet:
        fleet.brief(specs(tmp_path, engine, LONG, output_tokens=200))
        after(0.5, fleet.stop)
        [report] = fleet.play(nothing)
    assert report.interrupted and report.died is None
    found = records(tmp_path)
    assert found and {record.status for record in found} == {"ok"}
    assert len(found) == report.requests


def test_a_second_stop_cuts_off(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(1) as fleet:
        fleet.brief(specs(tmp_path, engine, LONG, output_tokens=100_000))
        after(0.4, fleet.stop)
        after(0.6, fleet.stop)
        [report] = fleet.play(nothing)
    assert report.interrupted and report.end_ns < 10e9
    assert [record.status for record in records(tmp_path)] == ["cancelled"] * 2
    assert all(record.chunks > 10 for record in records(tmp_path))  # what had come is kept


def test_what_does_not_drain_in_time_is_cut_off(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(1) as fleet:
        fleet.brief(specs(tmp_path, engine, LONG, output_tokens=100_000))
        after(0.3, fleet.stop)
        [report] = fleet.play(nothing, drain_s=0.2)
    assert report.interrupted
    assert [record.status for record in records(tmp_path)] == ["cancelled"] * 2


def test_an_engine_that_ends_stops_everything(tmp_path: Path, engine: BackendConfig) -> None:
    end = time.monotonic() + 0.5
    with Fleet(1) as fleet:
        fleet.watch = lambda: "killed by signal 9" if time.monotonic() > end else None
        fleet.brief(specs(tmp_path, engine, LONG, output_tokens=100_000))
        [report] = fleet.play(nothing)
    assert fleet.engine_ended == "killed by signal 9"
    assert report.interrupted
    assert {record.status for record in records(tmp_path)} <= {"cancelled", "ok"}


def test_no_worker_is_left_behind(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(2) as fleet:
        fleet.brief(specs(tmp_path, engine, LONG, size=2))
        pids = fleet.pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    params = BackendConfig(url="http://nowhere.invalid/v1", model="tiny")
    with Fleet(1) as fleet, pytest.raises(TargetError, match=r"cannot resolve nowhere\.invalid"):
        fleet.brief(specs(tmp_path, params, LONG))


def test_a_secret_that_is_not_set(tmp_path: Path) -> None:
    params = BackendConfig(url="http://127.0.0.1:1/v1", model="tiny", api_key="env:HARNESS_TEST_NO_SUCH_KEY")
    with Fleet(1) as fleet, pytest.raises(UsageError, match="HARNESS_TEST_NO_SUCH_KEY is not set") as raised:
        fleet.brief(specs(tmp_path, params, LONG))
    assert raised.value.remedy == "export HARNESS_TEST_NO_SUCH_KEY=..."


def test_records_that_cannot_be_written(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(1) as fleet, pytest.raises(UsageError, match="cannot write"):
        fleet.brief(specs(tmp_path / "missing", engine, LONG))


def test_a_worker_that_dies_before_the_start(tmp_path: Path, engine: BackendConfig) -> None:
    with Fleet(1) as fleet:
        os.kill(fleet.pids[0], signal.SIGKILL)
        with pytest.raises(HarnessError, match="worker 0 ended before the start: killed by signal 9"):
            fleet.brief(specs(tmp_path, engine, LONG))
        fleet.stop()  # nobody is there any more: no error


def test_a_worker_that_is_never_ready(tmp_path: Path, engine: BackendConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "_READY_S", 0.1)
    with Fleet(1) as fleet:
        os.kill(fleet.pids[0], signal.SIGSTOP)
        try:
            with pytest.raises(HarnessError, match=r"worker 0 did not get ready within 0\.1 s"):
                fleet.brief(specs(tmp_path, engine, LONG))
        finally:
            os.kill(fleet.pids[0], signal.SIGCONT)


def test_a_target_that_goes_away_fails_requests_and_not_the_run(tmp_path: Path, unused_port: int) -> None:
    params = BackendConfig(url=f"http://127.0.0.1:{unused_port}/v1", model="tiny")
    with Fleet(1) as fleet:
        fleet.brief(specs(tmp_path, params, {"concurrency": 2, "sessions": 10}))
        [report] = fleet.play(nothing)
    assert (report.died, report.sessions_failed, report.sessions_finished) == (None, 10, 0)
    assert [record.error for record in records(tmp_path)] == ["connection_refused"] * 10


@pytest.mark.parametrize(
    ("wanted", "concurrency", "count"), [(3, None, 3), (3, 64, 3), (8, 2, 2), ("auto", 1, 1), (1, 1, 1)]
)
def test_how_many_workers(wanted: int | str, concurrency: int | None, count: int) -> None:
    assert auto_workers(wanted, concurrency) == count


def test_a_core_is_left_to_others() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert auto_workers("auto", None) == max(1, cores - 1)


# -- a worker alone


class Alone:
    """One worker process and its pipes."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "harness.load.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdin is not None and self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout

    def say(self, message: Any) -> None:
        self._in.write(messages.encode(message) + b"\n")
        self._in.flush()

    def hear(self, kind: Any) -> Any:
        """The next message of this kind; others are passed over."""
        for line in self._out:
            message = messages.decode_from_worker(line)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__}: {self.process.stderr and self.process.stderr.read()!r}")

    def hang_up(self) -> int:
        self._in.close()
        return self.process.wait(10)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self._in, self._out, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def alone() -> Iterator[Alone]:
    worker = Alone()
    yield worker
    worker.end()


def test_ready_start_done(tmp_path: Path, engine: BackendConfig, alone: Alone) -> None:
    [spec] = specs(tmp_path, engine, {"concurrency": 2, "sessions": 4})
    alone.say(spec)
    ready = alone.hear(Ready)
    assert (ready.worker, ready.pid) == (0, alone.process.pid)
    start_ns = time.monotonic_ns() + 50_000_000
    alone.say(Start(at_ns=start_ns))
    done = alone.hear(Done)
    assert (done.report.sessions_finished, done.snapshot.requests_ok) == (4, 8)
    assert min(record.sent_ns for record in records(tmp_path)) >= 0  # the axis begins at the common start
    assert alone.process.wait(10) == 0


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the size of a pipe can be set on Linux alone")
def test_a_parent_that_does_not_listen_holds_nothing_up(tmp_path: Path, engine: BackendConfig, alone: Alone) -> None:
    fcntl.fcntl(alone.process.stdout, fcntl.F_SETPIPE_SZ, 16384)  # three snapshots and it is full
    alone.say(specs(tmp_path, engine, {"concurrency": 1, "duration": "2s"})[0])
    alone.hear(Ready)
    alone.say(Start(at_ns=time.monotonic_ns()))
    assert alone.process.wait(60) == 0
    told = [messages.decode_from_worker(line) for line in alone.process.stdout]
    assert [type(message) for message in told[-2:]] == [Tick, Done]
    assert len(told) <= 3
    assert told[-1].report.requests == len(records(tmp_path)) > 0


def test_stopped_before_the_start(tmp_path: Path, engine: BackendConfig, alone: Alone) -> None:
    alone.say(specs(tmp_path, engine, LONG)[0])
    alone.hear(Ready)
    alone.say(Stop(drain=True))
    assert alone.hear(Done).report.requests == 0
    assert records(tmp_path) == []


@pytest.mark.parametrize("playing", [False, True])
def test_a_worker_ends_with_its_parent(tmp_path: Path, engine: BackendConfig, alone: Alone, playing: bool) -> None:
    alone.say(specs(tmp_path, engine, LONG)[0])
    alone.hear(Ready)
    if playing:
        alone.say(Start(at_ns=time.monotonic_ns()))
        time.sleep(0.2)
    assert alone.hang_up() == 1


def test_a_worker_that_is_told_nothing_ends(alone: Alone) -> None:
    assert alone.hang_up() == 0


def test_an_interrupt_is_the_business_of_the_parent(tmp_path: Path, engine: BackendConfig, alone: Alone) -> None:
    alone.say(specs(tmp_path, engine, {"concurrency": 1, "sessions": 3})[0])
    alone.hear(Ready)
    alone.process.send_signal(signal.SIGINT)
    alone.say(Start(at_ns=time.monotonic_ns()))
    assert alone.hear(Done).report.sessions_finished == 3


def test_secrets_stay_references_in_what_workers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TEST_KEY", "very-secret")
    params = BackendConfig(
        url="http://127.0.0.1:1/v1", api_key="env:HARNESS_TEST_KEY", headers={"x-a": "env:HARNESS_TEST_KEY"}
    )
    told = json.dumps(msgspec.to_builtins(specs(tmp_path, params, LONG)[0]))
    assert "very-secret" not in told and "env:HARNESS_TEST_KEY" in told
    assert ConfigError("a", "b").exit_code == 2
