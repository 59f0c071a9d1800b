"""Which keys of a config's section `load` decide who asks what and when. The rest decides how it is sent and measured.

Two runs that differ in one of these asked for different loads; a plan is made from these and no others.
"""

from __future__ import annotations

PLANNED_LOAD = (
    "concurrency",
    "rate",
    "arrivals",
    "cv",
    "trace",
    "time_scale",
    "ramp",
    "warmup",
    "sessions",
    "duration",
    "max_duration",
)
