"""The fleet that a config asks for: how many workers, and where they live."""

from __future__ import annotations

from harness.config import LoadConfig
from harness.config.cluster import RayCluster
from harness.errors import ConfigError
from harness.load.fleet import Fleet, auto_workers


def staff(load: LoadConfig, most: int | None, *, in_process: bool = False) -> Fleet:
    """Workers that begin to start now; never more than `most`, which have something to do. One, where it holds the
    engine (`in_process`).

    Raises:
        ConfigError: several workers were asked for, or a cluster, and there is but one engine.
        UsageError: the cluster cannot be reached, or has no room for them.
        MissingExtra: `load.on` asks for a package that is not installed.
    """
    if in_process:
        if load.on != "local" or load.workers not in ("auto", 1):
            raise ConfigError("load", "an engine in process has one worker, on this machine", remedy="load.workers: 1")
        if load.solo:
            raise ConfigError("load.solo", "an engine in process ends with the load: nothing can be replayed after it")
        return Fleet(1)
    if load.on == "local":
        return Fleet(auto_workers(load.workers, most))
    from harness.load.placed_ray import RayPlacement

    placement = RayPlacement(load.ray or RayCluster())
    return Fleet(placement.reserve(load.workers, most), placement)
