"""What is known of a target when the load may start."""

from __future__ import annotations

import msgspec

from harness.backends.protocol import Target
from harness.load.wire import Endpoint
from harness.workloads.text import TextCalibration


class Reached(msgspec.Struct, kw_only=True):
    """The target and the way to it, and how long our words are in its tokens."""

    target: Target
    endpoint: Endpoint
    calibration: TextCalibration
    keeps_connections: bool  # false: it closes each connection after a streamed answer
