"""The doctor: what it finds on made-up systems, and that it never falls over on this one."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.telemetry import doctor


def named(checks: Any, name: str) -> doctor.Check:
    return next(check for check in checks if check.name == name)


def test_this_machine_is_examined_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOOK_S", 0.05)
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert told.exit_code == 0
    checks = json.loads(told.stdout)
    assert {"cores", "kernel stamps", "open files", "calibration"} <= {check["name"] for check in checks}
    assert all(check["remedy"] for check in checks if check["state"] in ("warn", "bad"))
    assert "ulimit" in CliRunner().invoke(app, ["doctor"]).stderr


@pytest.mark.parametrize(("governor", "state"), [("performance", "ok"), ("powersave", "warn"), (None, "unknown")])
def test_governor(monkeypatch: pytest.MonkeyPatch, governor: str | None, state: str) -> None:
    monkeypatch.setattr(doctor, "machine", lambda: {"governor": governor})
    assert named(doctor._governor(), "CPU governor").state == state


@pytest.mark.parametrize(("cores", "state"), [(1, "bad"), (2, "warn"), (16, "ok")])
def test_cores(monkeypatch: pytest.MonkeyPatch, cores: int, state: str) -> None:
    monkeypatch.setattr(doctor, "machine", lambda: {"cores": cores})
    monkeypatch.setattr(doctor, "_text", lambda path: None)
    assert named(doctor._cores(), "cores").state == state


def test_a_container_quota_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_text", lambda path: "150000 100000" if path.endswith("cpu.max") else None)
    assert "1.5 cores" in named(doctor._cores(), "CPU quota").value


def test_swap_ports_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        "/proc/meminfo": "SwapTotal: 1000000 kB\nSwapFree: 100000 kB\nMemAvailable: 500000 kB",
        "/proc/sys/net/ipv4/ip_local_port_range": "32768 33768",
    }
    monkeypatch.setattr(doctor, "_text", pages.get)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    memory, files = list(doctor._memory()), list(doctor._files())
    assert named(memory, "swap").state == "warn"
    assert named(memory, "memory").state == "warn"
    assert "ulimit -n 4096" in named(files, "open files").remedy
    assert named(files, "client ports").state == "warn"


@pytest.mark.parametrize(("busy", "state"), [(0, "ok"), (30, "warn"), (90, "bad")])
def test_other_load(monkeypatch: pytest.MonkeyPatch, busy: int, state: str) -> None:
    ticks = iter([(0, 0), (busy, 100)])
    monkeypatch.setattr(doctor, "_LOOK_S", 0)
    monkeypatch.setattr(doctor, "_busy_ticks", lambda: next(ticks))
    assert named(doctor._watched(), "other load").state == state
