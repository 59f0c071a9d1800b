"""What the kernel says of its wall clock."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.records import wallclock
from harness.records.wallclock import WallClock, wall_clock


@pytest.mark.parametrize(
    ("told", "synchronised", "max_error_s"),
    [
        (None, None, None),
        (SimpleNamespace(status=0x2001, max_error_us=12_500), True, 0.0125),
        (SimpleNamespace(status=0x2041, max_error_us=16_000_000), False, None),  # no bound where nothing keeps it
    ],
)
def test_what_adjtimex_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: Any, synchronised: bool | None, max_error_s: float | None
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("ced6eaf0\n")
    monkeypatch.setattr(wallclock, "_BOOT_ID", boot)
    monkeypatch.setattr(wallclock, "_adjtimex", lambda: told)
    assert wall_clock() == WallClock(boot="ced6eaf0", synchronised=synchronised, max_error_s=max_error_s)


def test_a_system_without_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wallclock, "_BOOT_ID", tmp_path / "none")
    monkeypatch.setattr(wallclock.sys, "platform", "darwin")
    assert wall_clock() == WallClock()


def test_this_machine_reads_the_same_twice() -> None:
    first, second = wall_clock(), wall_clock()
    assert (first.boot, first.synchronised) == (second.boot, second.synchronised)
