"""All sources, sampled beside the run and written to `telemetry.jsonl` as they speak."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from harness import registry
from harness.clock import now_ns
from harness.errors import MissingExtra
from harness.records.telemetry import Idle, Line, Notice, Reading, Sample, TelemetryWriter
from harness.telemetry.source import Engine, Missing, Settings, Source
from harness.units import NS_PER_S

GROUP = "harness.telemetry"
_OPEN_S = 6.0  # the run does not wait longer for sources to open
_SAMPLE_S = 2.0  # nor for a sample before or after the load
_FRESH_S = 5.0  # older values are not what the server does now


class Telemetry:
    """Samples from entering to leaving the context: idle if asked for, before, during and after the load.

    Until `start` has told where the time axis begins, lines wait in memory; without it nothing is written. Nothing
    here raises into the run: a source that fails becomes a notice in the file.
    """

    def __init__(
        self, settings: Settings, engine: Engine, path: Path, sources: Iterable[type[Source]] | None = None
    ) -> None:
        self._settings = settings
        self._log = _Log(path)
        kinds = _registered(self._log) if sources is None else list(sources)
        self._probes = [_Probe(kind(settings, engine), settings.interval, self._log) for kind in kinds]

    def __enter__(self) -> Telemetry:
        for probe in self._probes:
            probe.start()
        deadline = now_ns() + round(_OPEN_S * NS_PER_S)
        for probe in self._probes:
            probe.opened.wait(max(0.0, (deadline - now_ns()) / NS_PER_S))
        if self._settings.idle:
            begin = now_ns()
            threading.Event().wait(self._settings.idle)
            self._log.add(Idle(start_ns=begin, end_ns=now_ns()))
        self._ask_all()
        return self

    def start(self, t0_ns: int) -> None:
        """The load starts at `t0_ns` of `clock.now_ns`. Only the first call counts, so it may be called often."""
        self._log.start(t0_ns)

    def latest(self, source: str = "prometheus") -> dict[str, float]:
        """The newest values of a source, for the live view; empty while it has none, or has gone silent."""
        newest = self._log.latest.get(source)
        fresh_ns = round(max(_FRESH_S, 3 * self._settings.interval) * NS_PER_S)
        return newest.values if newest is not None and now_ns() - newest.t_ns <= fresh_ns else {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask_all()
        for probe in self._probes:
            probe.stop()
        for probe in self._probes:
            probe.join(_SAMPLE_S)
        self._log.close()

    def _ask_all(self) -> None:
        """A sample of every source now."""
        asked = [probe.ask() for probe in self._probes]
        deadline = now_ns() + round(_SAMPLE_S * NS_PER_S)
        for answered in asked:
            answered.wait(max(0.0, (deadline - now_ns()) / NS_PER_S))


class _Probe(threading.Thread):
    """One source in its thread: opened, sampled at fixed times and when asked, closed."""

    def __init__(self, source: Source, interval_s: float, log: _Log) -> None:
        super().__init__(name=f"telemetry-{source.name}", daemon=True)
        self.opened = threading.Event()
        self._source = source
        self._interval_ns = max(1, round(interval_s * NS_PER_S))
        self._log = log
        self._wake = threading.Event()
        self._ending = False
        self._over = False
        self._asked: list[threading.Event] = []
        self._lock = threading.Lock()
        self._failing = False

    def ask(self) -> threading.Event:
        """Sample as soon as may be. The event is set when that is done, or will never be."""
        answered = threading.Event()
        with self._lock:
            if self._over:
                answered.set()
            else:
                self._asked.append(answered)
        self._wake.set()
        return answered

    def stop(self) -> None:
        self._ending = True
        self._wake.set()

    def run(self) -> None:
        try:
            if self._open():
                self.opened.set()
                self._loop()
        finally:
            with suppress(Exception):
                self._source.close()
            with self._lock:
                self._over = True
                asked, self._asked = self._asked, []
            for answered in (self.opened, *asked):
                answered.set()

    def _open(self) -> bool:
        try:
            self._source.open()
        except Missing as missing:
            if missing.severity is not None:
                self._notice("telemetry_missing", missing.severity, missing.message, missing.remedy)
        except Exception as error:  # of a source that may be anybody's: the run goes on without it
            self._notice("telemetry_missing", "warning", f"{type(error).__name__}: {error}")
        else:
            return True
        return False

    def _loop(self) -> None:
        due = now_ns()
        while not self._ending:
            with self._lock:
                asked, self._asked = self._asked, []
            now = now_ns()
            if asked or now >= due:
                self._sample()
                for answered in asked:
                    answered.set()
                behind = max(0, now - due) // self._interval_ns
                due += (behind + 1) * self._interval_ns if now >= due else 0
            self._wake.wait(max(0.0, (due - now_ns()) / NS_PER_S))
            self._wake.clear()

    def _sample(self) -> None:
        before = now_ns()
        try:
            reading = self._source.sample()
        except Exception as error:
            if not self._failing:
                self._failing = True
                message = f"samples are missing: {error or type(error).__name__}"
                self._notice("telemetry_gap", "info", message)
            return
        self._failing = False
        after = now_ns()
        self._log.add(_stamped(self._source.name, reading, before, after))

    def _notice(self, code: str, severity: Any, message: str, remedy: str = "") -> None:
        name = self._source.name
        self._log.add(Notice(source=name, t_ns=now_ns(), code=code, severity=severity, message=message, remedy=remedy))


class _Log:
    """Lines on the clock's axis in, lines on the run's axis out. For all threads."""

    def __init__(self, path: Path) -> None:
        self.latest: dict[str, Sample] = {}
        self._path = path
        self._lock = threading.Lock()
        self._waiting: list[Line] = []
        self._t0_ns: int | None = None
        self._writer: TelemetryWriter | None = None

    def add(self, line: Line) -> None:
        with self._lock:
            if isinstance(line, Sample) and line.values:
                self.latest[line.source] = line
            self._waiting.append(line)
            self._write()

    def start(self, t0_ns: int) -> None:
        with self._lock:
            if self._t0_ns is None:
                self._t0_ns = t0_ns
                with suppress(Exception):  # a folder we may not write to has stopped the run by other means
                    self._writer = TelemetryWriter(self._path)
                self._write()

    def close(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _write(self) -> None:
        if self._t0_ns is None:
            return
        lines, self._waiting = self._waiting, []
        for line in lines:
            try:
                if self._writer is not None:
                    self._writer.write(_moved(line, self._t0_ns))
            except OSError:  # the disk is full: the records say so; here it only costs telemetry
                self._writer = None


def _registered(log: _Log) -> list[type[Source]]:
    kinds = []
    for name in registry.names(GROUP):
        try:
            kinds.append(registry.load(GROUP, name))
        except MissingExtra as error:
            log.add(
                Notice(
                    source=name,
                    t_ns=now_ns(),
                    code="telemetry_missing",
                    severity="info",
                    message=error.message,
                    remedy=error.remedy,
                )
            )
    return kinds


def _stamped(source: str, reading: Reading, before: int, after: int) -> Sample:
    return Sample(
        source=source,
        t_ns=(before + after) // 2,
        took_ns=after - before,
        values=reading.values,
        histograms=reading.histograms,
        devices=reading.devices,
    )


def _moved(line: Line, t0_ns: int) -> Line:
    if isinstance(line, Idle):
        return Idle(start_ns=line.start_ns - t0_ns, end_ns=line.end_ns - t0_ns)
    return msgspec.structs.replace(line, t_ns=line.t_ns - t0_ns)
