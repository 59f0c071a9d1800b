"""Kernel receive stamps on the monotonic axis.

Linux stamps each received segment on CLOCK_REALTIME (SO_TIMESTAMPNS). The offset to CLOCK_MONOTONIC is measured anew
several times a second, so that a slewed clock does no harm; a step of the wall clock is noticed and counted.
"""

from __future__ import annotations

import socket
import struct
import sys
from array import array

from harness.clock import wall_offset_ns

SO_TIMESTAMPNS = 35
ANCILLARY_BYTES = socket.CMSG_SPACE(16) if hasattr(socket, "CMSG_SPACE") else 0
_STEP_NS = 2_000_000  # more than slewing (500 ppm) does between two refreshes
unpack = struct.Struct("qq").unpack

AVAILABLE = sys.platform == "linux" and ANCILLARY_BYTES > 0


class KernelClock:
    """The offset CLOCK_REALTIME - CLOCK_MONOTONIC, kept fresh. Nanoseconds."""

    def __init__(self) -> None:
        self.steps = 0  # steps of the wall clock seen
        self.delays_ns: array[int] = array("q")  # kernel stamp to our read, first and last of each answer
        self.offset_ns = wall_offset_ns()
        self.second = 0  # of CLOCK_REALTIME, ...
        self.second_ns = -self.offset_ns  # ... and when it began

    def turn(self, second: int) -> None:
        """Stamps of another second are coming."""
        self.second = second
        self.second_ns = second * 1_000_000_000 - self.offset_ns

    def refresh(self) -> None:
        """Measure the offset again."""
        offset = wall_offset_ns()
        if abs(offset - self.offset_ns) > _STEP_NS:
            self.steps += 1
        self.offset_ns = offset
        self.turn(self.second)


def enable(sock: socket.socket) -> bool:
    """Ask the kernel for receive stamps on this socket. False where it has none."""
    if not AVAILABLE:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True
