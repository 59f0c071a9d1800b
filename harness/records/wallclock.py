"""How far this machine's wall clock may be off: what the system knows of it, for runs that several machines share."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import msgspec

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Timex(ctypes.Structure):
    """The head of adjtimex(2)'s struct timex; the rest of it is only room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("max_error_us", ctypes.c_long),
        ("estimated_error_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class WallClock(msgspec.Struct, frozen=True, kw_only=True):
    """A wall clock, as its kernel sees it.

    Attributes:
        boot: names this boot of the kernel: two programs with the same one read the same clock.
        synchronised: whether NTP or the like keeps it true; None where the system does not tell.
        max_error_s: the kernel's bound of its error; None where it is not kept true.
    """

    boot: str | None = None
    synchronised: bool | None = None
    max_error_s: float | None = None


def wall_clock() -> WallClock:
    """This machine's wall clock now, from adjtimex(2) and the boot id of Linux."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        boot = None
    told = _adjtimex()
    if told is None:
        return WallClock(boot=boot)
    synchronised = not told.status & _UNSYNCHRONISED
    return WallClock(
        boot=boot, synchronised=synchronised, max_error_s=told.max_error_us / 1e6 if synchronised else None
    )


def _adjtimex() -> _Timex | None:
    """A reading that changes nothing (`modes` is 0); None where the system has no such call or refuses it."""
    if sys.platform != "linux":
        return None
    told = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else told
