from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.clock import now_ns
from harness.errors import MissingExtra
from harness.metrics.energy import energy_figures
from harness.metrics.summary import Rates
from harness.records.telemetry import Reading, TelemetryLog, read_telemetry
from harness.telemetry import sampler
from harness.telemetry.command import Command
from harness.telemetry.sampler import GROUP, Telemetry
from harness.telemetry.source import Engine, Missing, Source

ENGINE = Engine(url="http://127.0.0.1:8000/v1")


class Counting:
    """Counts its samples; wakes whoever waits for a number of them."""

    name = "counting"

    def __init__(self, settings: Any, engine: Engine) -> None:
        self.n = 0
        self.closed = 0
        self.changed = threading.Condition()
        MADE[self.name] = self

    def open(self) -> None:
        pass

    def sample(self) -> Reading:
        with self.changed:
            self.n += 1
            self.changed.notify_all()
            return Reading(values={"n": self.n})

    def close(self) -> None:
        self.closed += 1

    def reach(self, n: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.n >= n)


class Absent(Counting):
    name = "absent"

    def open(self) -> None:
        raise Missing("no such thing", remedy="buy one", severity="warning")


class Quiet(Counting):
    name = "quiet"

    def open(self) -> None:
        raise Missing("nobody asked", severity=None)


class Broken(Counting):
    name = "broken"

    def open(self) -> None:
        raise KeyError("surprise")


class Failing(Counting):
    """Every second and third sample fails."""

    name = "failing"

    def sample(self) -> Reading:
        reading = super().sample()
        if self.n % 3:
            raise OSError(5, "device gone")
        return reading


class Hanging(Counting):
    name = "hanging"
    released = threading.Event()

    def sample(self) -> Reading:
        Hanging.released.wait()
        return Reading()


MADE: dict[str, Counting] = {}


def run(path: Path, settings: Any, *sources: type[Source], until: Callable[[], None] = lambda: None) -> TelemetryLog:
    file = path / "telemetry.jsonl"
    with Telemetry(settings, ENGINE, file, sources) as telemetry:
        telemetry.start(now_ns())
        until()
    return read_telemetry(file)


def test_samples_before_during_and_after_on_the_runs_axis(tmp_path: Path, wanted: Any) -> None:
    log = run(tmp_path, wanted(), Counting, until=lambda: MADE["counting"].reach(8))
    counts = [sample.values["n"] for sample in log.samples]
    assert counts == list(range(1, len(counts) + 1)) and len(counts) >= 9
    times = [sample.t_ns for sample in log.samples]
    assert times == sorted(times) and times[0] < 0 < times[-1]  # before the load, and after
    assert all(sample.took_ns >= 0 for sample in log.samples)
    assert MADE["counting"].closed == 1 and not log.notices and log.idle is None


def test_each_sample_is_on_disk_at_once(tmp_path: Path, wanted: Any) -> None:
    file = tmp_path / "telemetry.jsonl"
    with Telemetry(wanted(), ENGINE, file, [Counting]) as telemetry:
        telemetry.start(now_ns())
        seen = MADE["counting"].n
        MADE["counting"].reach(seen + 3)
        assert len(read_telemetry(file).samples) >= seen + 2  # all but the one under way
        assert telemetry.latest("counting")["n"] >= seen + 2
        assert telemetry.latest() == {}


def test_no_start_no_file(tmp_path: Path, wanted: Any) -> None:
    with Telemetry(wanted(), ENGINE, tmp_path / "telemetry.jsonl", [Counting, Absent]):
        pass
    assert not list(tmp_path.iterdir())


def test_only_the_first_start_counts(tmp_path: Path, wanted: Any) -> None:
    file = tmp_path / "telemetry.jsonl"
    with Telemetry(wanted(interval=100.0), ENGINE, file, [Counting]) as telemetry:
        telemetry.start(now_ns())
        telemetry.start(0)
    assert all(abs(sample.t_ns) < 60e9 for sample in read_telemetry(file).samples)


def test_before_and_after_are_sampled_however_long_the_interval(tmp_path: Path, wanted: Any) -> None:
    log = run(tmp_path, wanted(interval=1000.0), Counting)
    assert [sample.values["n"] for sample in log.samples][-1] >= 2
    assert log.samples[-2].t_ns < 0 < log.samples[-1].t_ns


def test_what_is_missing_is_said_and_costs_the_others_nothing(tmp_path: Path, wanted: Any) -> None:
    kinds = (Absent, Quiet, Broken, Failing, Counting)
    log = run(tmp_path, wanted(), *kinds, until=lambda: MADE["failing"].reach(7))
    told = {(notice.source, notice.code, notice.severity, notice.message) for notice in log.notices}
    assert ("absent", "telemetry_missing", "warning", "no such thing") in told
    assert ("broken", "telemetry_missing", "warning", "KeyError: 'surprise'") in told
    assert ("failing", "telemetry_gap", "info", "samples are missing: [Errno 5] device gone") in told
    assert len(told) == 3
    assert {sample.source for sample in log.samples} == {"failing", "counting"}
    assert all(sample.values["n"] % 3 == 0 for sample in log.of("failing"))
    assert [MADE[kind.name].closed for kind in kinds] == [1] * 5


def test_a_source_that_hangs_is_left_behind(tmp_path: Path, wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_SAMPLE_S", 0.05)
    try:
        log = run(tmp_path, wanted(), Hanging, Counting, until=lambda: MADE["counting"].reach(5))
    finally:
        Hanging.released.set()
    assert len(log.of("counting")) >= 5 and not log.of("hanging")


def test_idle_is_marked_and_sampled(tmp_path: Path, wanted: Any) -> None:
    log = run(tmp_path, wanted(idle=0.1), Counting)
    assert log.idle is not None and log.idle.end_ns - log.idle.start_ns >= 0.1e9 and log.idle.end_ns < 0
    inside = [sample for sample in log.samples if log.idle.start_ns <= sample.t_ns <= log.idle.end_ns]
    assert inside and log.samples[-1].t_ns > 0


def test_a_folder_that_is_gone_does_not_stop_the_run(tmp_path: Path, wanted: Any) -> None:
    run(tmp_path / "gone", wanted(), Counting, until=lambda: MADE["counting"].reach(3))
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_does_not_stop_the_run(tmp_path: Path, wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, line: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sampler.TelemetryWriter, "write", refuse)
    assert run(tmp_path, wanted(), Counting, until=lambda: MADE["counting"].reach(3)).samples == []


def test_every_registered_source_keeps_to_the_protocol(tmp_path: Path, wanted: Any) -> None:
    """With everything off, nothing is read but this machine, and nothing is said."""
    names = registry.names(GROUP)
    assert {"prometheus", "process", "nvml", "amdsmi", "dcgm", "rapl", "command"} <= set(names)
    assert all(registry.load(GROUP, name).name == name for name in names)
    file = tmp_path / "telemetry.jsonl"
    with Telemetry(wanted(), ENGINE, file) as telemetry:
        telemetry.start(now_ns())
    log = read_telemetry(file)
    assert not log.notices and {sample.source for sample in log.samples} <= {"process"}


def test_a_source_whose_package_is_missing_is_said(
    tmp_path: Path, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(group: str, name: str) -> Any:
        raise MissingExtra(f"telemetry source '{name}'", "gpu")

    monkeypatch.setattr(sampler.registry, "load", load)
    monkeypatch.setattr(sampler.registry, "names", lambda group: ["theirs"])
    file = tmp_path / "telemetry.jsonl"
    with Telemetry(wanted(), ENGINE, file) as telemetry:
        telemetry.start(now_ns())
    (notice,) = read_telemetry(file).notices
    assert (notice.source, notice.code) == ("theirs", "telemetry_missing") and "[gpu]" in notice.remedy


@pytest.mark.parametrize(
    ("engine", "here"),
    [
        (Engine(url="http://127.0.0.1:1/v1"), True),
        (Engine(url="http://[::1]:1"), True),
        (Engine(url="http://localhost/v1"), True),
        (Engine(url="http://10.0.0.1/v1"), False),
        (Engine(url="https://api.example.com"), False),
        (Engine(), False),
        (Engine(url="http://10.0.0.1/v1", pid=5), True),
        (Engine(url="http://127.0.0.1:1/v1", simulated=True), False),
    ],
)
def test_whose_power_this_machines_power_is(engine: Engine, here: bool) -> None:
    assert engine.here is here


def test_a_meter_of_known_wattage_gives_its_energy_to_one_percent(tmp_path: Path, wanted: Any) -> None:
    settings = wanted(interval=0.05, idle=0.2, power_command="echo 137.5 W")
    file = tmp_path / "telemetry.jsonl"
    with Telemetry(settings, ENGINE, file, [Command]) as telemetry:
        begin = now_ns()
        telemetry.start(begin)
        threading.Event().wait(0.5)
        end = now_ns()
    figures, findings = energy_figures(read_telemetry(file), 0, end - begin, Rates(output_tokens_per_s=10.0))
    assert figures is not None and not findings
    assert figures.joules == pytest.approx(137.5 * (end - begin) / 1e9, rel=0.01)
    assert figures.j_per_output_token == pytest.approx(13.75, rel=0.01)
    assert figures.net_joules == pytest.approx(0.0, abs=0.01 * figures.joules)
    assert figures.source == "command power (1 box)"
