"""What in this environment would spoil a measurement, each with a remedy. Only what the system says is told."""

from __future__ import annotations

import importlib.util
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from harness.records import calibration
from harness.records.machine import StealMeter, machine

State = Literal["ok", "warn", "bad", "unknown"]

_LOOK_S = 1.0  # how long CPU use and steal are watched
_EXTRAS = {
    "nvidia-ml-py (NVIDIA energy)": ("pynvml", "gpu"),
    "tokenizers (exact token counts)": ("tokenizers", "tokenizers"),
}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `value` is what was found, in words; `remedy` is empty where all is well."""

    name: str
    state: State
    value: str
    remedy: str = ""


def examine() -> list[Check]:
    """Every check, in the order people should read them. Takes a second."""
    watched = _watched()
    return [*watched, *(check for look in _LOOKS for check in look())]


def _watched() -> list[Check]:
    """CPU time that others take, over a second in which we do nothing."""
    meter = StealMeter()
    before = _busy_ticks()
    time.sleep(_LOOK_S)
    after, steal = _busy_ticks(), meter.share()
    found = []
    if before is not None and after is not None and after[1] > before[1]:
        share = (after[0] - before[0]) / (after[1] - before[1])
        found.append(
            Check(
                name="other load",
                state="ok" if share < 0.1 else "warn" if share < 0.4 else "bad",
                value=f"{share * 100:.0f} % of all cores busy while nothing was run",
                remedy="" if share < 0.1 else "stop what else runs here, or measure on a machine of its own",
            )
        )
    if steal is not None:
        found.append(
            Check(
                name="steal",
                state="ok" if steal <= 0.005 else "warn" if steal <= 0.01 else "bad",
                value=f"{steal * 100:.1f} % of CPU time taken by the hypervisor",
                remedy="" if steal <= 0.005 else "use a machine whose cores are not shared; runs over 1 % are invalid",
            )
        )
    return found


def _busy_ticks() -> tuple[int, int] | None:
    """(busy, all) ticks of all cores; idle and waiting for disks are not busy."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        ticks = [int(word) for word in words]
    except (OSError, ValueError):
        return None
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _cores() -> Iterator[Check]:
    cores = machine()["cores"] or 1
    value = f"{cores} for this process"
    quota = _text("/sys/fs/cgroup/cpu.max")
    if quota and not quota.startswith("max"):
        most, period = quota.split()
        yield Check(
            name="CPU quota",
            state="bad",
            value=f"a container limit of {int(most) / int(period):g} cores: the kernel stops us when it is used up",
            remedy="pin cores (cpuset) instead of a quota",
        )
    if cores < 2:
        yield Check(
            name="cores",
            state="bad",
            value=value,
            remedy="the load generator needs a core that the server does not use",
        )
    elif cores < 4:
        yield Check(name="cores", state="warn", value=value, remedy="a local server and the load generator share them")
    else:
        yield Check(name="cores", state="ok", value=value)


def _governor() -> Iterator[Check]:
    governor = machine()["governor"]
    if governor is None:
        yield Check(name="CPU governor", state="unknown", value="not told (virtual machine?)")
    elif governor in ("performance", "schedutil"):
        yield Check(name="CPU governor", state="ok", value=governor)
    else:
        yield Check(
            name="CPU governor",
            state="warn",
            value=governor,
            remedy="sudo cpupower frequency-set --governor performance",
        )


def _clock() -> Iterator[Check]:
    source = machine()["clocksource"]
    if source is None:
        yield Check(name="clock source", state="unknown", value="not told")
        return
    cheap = source in ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
    yield Check(
        name="clock source",
        state="ok" if cheap else "warn",
        value=source,
        remedy="" if cheap else "reading this clock is slow; tsc is better (kernel option clocksource=tsc)",
    )


def _memory() -> Iterator[Check]:
    facts = dict(line.split(":", 1) for line in (_text("/proc/meminfo") or "").splitlines() if ":" in line)
    if "SwapTotal" not in facts:
        return
    used = _kib(facts["SwapTotal"]) - _kib(facts["SwapFree"])
    yield Check(
        name="swap",
        state="ok" if used < 65536 else "warn",
        value="none in use" if used < 65536 else f"{used // 1024} MiB in use",
        remedy="" if used < 65536 else "free memory, or swapoff -a for the run",
    )
    free = _kib(facts["MemAvailable"])
    yield Check(
        name="memory",
        state="ok" if free > 1 << 20 else "warn",
        value=f"{free / 2**20:.1f} GiB available",
        remedy="" if free > 1 << 20 else "2,000 live streams need about 300 MiB",
    )


def _files() -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Check(
        name="open files",
        state="ok" if soft >= 8192 else "warn",
        value=f"{soft} (ulimit -n; hard limit {hard})",
        remedy=""
        if soft >= 8192
        else f"each live stream needs one: ulimit -n {min(hard, 65536) if hard > 0 else 65536}",
    )
    ports = _text("/proc/sys/net/ipv4/ip_local_port_range")
    if ports:
        low, high = map(int, ports.split())
        enough = high - low >= 20_000
        yield Check(
            name="client ports",
            state="ok" if enough else "warn",
            value=f"{high - low + 1:,} to one address",
            remedy="" if enough else 'sysctl -w net.ipv4.ip_local_port_range="10240 65535"',
        )


def _stamps() -> Iterator[Check]:
    import socket
    import sys

    linux = sys.platform == "linux" and hasattr(socket, "CMSG_SPACE")
    yield Check(
        name="kernel stamps",
        state="ok" if linux else "warn",
        value="available" if linux else "not on this system: stamps hold the loop's own lateness",
        remedy="" if linux else "generate load from Linux for the sharpest latencies",
    )


def _calibrated() -> Iterator[Check]:
    told = calibration.read()
    if told is None:
        yield Check(
            name="calibration", state="warn", value="this machine was never calibrated", remedy="harness calibrate"
        )
    else:
        ceiling = calibration.ceiling(told) or 0.0
        yield Check(name="calibration", state="ok", value=f"{ceiling:,.0f} events/s a core ({told.get('made_at')})")


def _extras() -> Iterator[Check]:
    for name, (module, extra) in _EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield Check(
            name=name,
            state="ok" if there else "unknown",
            value="installed" if there else "not installed (optional)",
            remedy="" if there else f"pip install 'inference-harness[{extra}]'",
        )


_LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _cores,
    _governor,
    _clock,
    _memory,
    _files,
    _stamps,
    _calibrated,
    _extras,
)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _kib(field: str) -> int:
    return int(field.split(maxsplit=1)[0])
