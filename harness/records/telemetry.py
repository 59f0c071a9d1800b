"""`telemetry.jsonl`: what the machines did beside the run. One JSON object a line, told apart by `line`.

All `*_ns` are on the run's monotonic axis (0 = start of load), so they are negative before the load. Figures are as
the source gave them, brought to SI units; whatever a source did not tell is missing, never 0. Meaning is given to
them later, by `harness.metrics.engine` and `harness.metrics.energy`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import ResultsError

DeviceKind = Literal["gpu", "cpu", "box"]


class Histogram(msgspec.Struct, gc=False):
    """A Prometheus histogram at one moment, cumulative since its server started.

    `counts[i]` are the observations in (bounds[i-1], bounds[i]], the last one those beyond all bounds; they are not
    summed up over buckets. `bounds` is None in a file where they are those of the line before.
    """

    counts: list[float]
    sum: float
    bounds: list[float] | None = None

    @property
    def n(self) -> float:
        return sum(self.counts)


class Device(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One device that draws power, at one moment.

    `joules` is a running counter that starts again at `wrap_j` where that is known. A `shared` device also works for
    others, so its energy cannot be ours. Utilisation is a share.
    """

    kind: DeviceKind
    name: str = ""
    joules: float | None = None
    wrap_j: float | None = None
    watts: float | None = None
    utilisation: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None
    clock_hz: float | None = None
    shared: bool = False


class Reading(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a source tells when asked once. `values` by canonical name: gauges as they are, counters cumulative."""

    values: dict[str, float] = {}
    histograms: dict[str, Histogram] = {}
    devices: dict[str, Device] = {}


class Sample(Reading, kw_only=True, omit_defaults=True, tag_field="line", tag="sample"):
    """A reading with its source and time, the middle of the `took_ns` in which it was read."""

    source: str
    t_ns: int
    took_ns: int = 0


class Notice(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="line", tag="notice"):
    """Something to know about a source, such as that it is missing: the stuff of a finding."""

    source: str
    t_ns: int
    code: str
    severity: Literal["info", "warning"]
    message: str
    remedy: str = ""


class Idle(msgspec.Struct, kw_only=True, tag_field="line", tag="idle"):
    """The time before the load in which the target was up and was asked nothing."""

    start_ns: int
    end_ns: int


Line = Sample | Notice | Idle

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


@dataclass(frozen=True)
class TelemetryLog:
    """A whole `telemetry.jsonl`. Samples are in the order of time, histograms with their bounds."""

    samples: list[Sample] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    idle: Idle | None = None

    def of(self, *sources: str) -> list[Sample]:
        """The samples of these sources."""
        return [sample for sample in self.samples if sample.source in sources]


class TelemetryWriter:
    """Appends lines to the file, each at once: a kill costs at most a torn last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bounds: dict[tuple[str, str], list[float]] = {}
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror}", remedy="give another --out") from error

    def write(self, line: Line) -> None:
        """Append one line. Raises OSError where the disk refuses."""
        if isinstance(line, Sample):
            line = self._compact(line)
        data = _encode(line) + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """A second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _compact(self, sample: Sample) -> Sample:
        """Without the bounds that the last line of the same histogram had."""
        short = {}
        for name, histogram in sample.histograms.items():
            key = sample.source, name
            known = histogram.bounds is None or self._bounds.get(key) == histogram.bounds
            if histogram.bounds is not None:
                self._bounds[key] = histogram.bounds
            short[name] = Histogram(histogram.counts, histogram.sum) if known else histogram
        return msgspec.structs.replace(sample, histograms=short) if short else sample


def read_telemetry(path: Path) -> TelemetryLog:
    """The telemetry of a run; empty where there is no such file. Lines that cannot be read are left out.

    Raises:
        ResultsError: the file is there and cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return TelemetryLog()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    samples: list[Sample] = []
    notices: list[Notice] = []
    idle = None
    for line in _lines(data):
        match line:
            case Sample():
                samples.append(line)
            case Notice():
                notices.append(line)
            case Idle():
                idle = line
    samples.sort(key=lambda sample: sample.t_ns)
    return TelemetryLog(samples=samples, notices=notices, idle=idle)


def _lines(data: bytes) -> Iterator[Line]:
    bounds: dict[tuple[str, str], list[float]] = {}
    for text in data.split(b"\n"):
        try:
            line: Line = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(line, Sample):
            for name, histogram in list(line.histograms.items()):
                key = line.source, name
                if histogram.bounds is None:
                    histogram.bounds = bounds.get(key, [])
                bounds[key] = histogram.bounds
                if len(histogram.counts) != len(histogram.bounds) + 1:  # its bounds were on a line that is lost
                    del line.histograms[name]
        yield line
