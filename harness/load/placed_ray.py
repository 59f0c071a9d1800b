"""Workers on the nodes of a Ray cluster, spread over them. Their records come back in chunks while they run.

Ray finds the room, starts the processes and carries messages; the load itself knows nothing of it.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import ExitStack, redirect_stdout
from typing import Any

from harness.clock import now_ns
from harness.config.cluster import RayCluster
from harness.errors import MissingExtra, UsageError
from harness.load.placement import Hear
from harness.load.ray_host import RayHost
from harness.load.ray_seat import RaySeat
from harness.units import format_duration

_PINGS = 24
_PING_S = 10.0
_KNOCK_S = 5.0


def _knock(address: str) -> None:
    """Ray itself would try for minutes where nothing listens. Raises OSError."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


class RayPlacement:
    """Connected to the cluster from the beginning until `close`."""

    lead_ns = 1_000_000_000

    def __init__(self, cluster: RayCluster) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtra("load.on: ray", "ray") from error
        self._ray = ray
        self._cluster = cluster
        self._seats: list[RaySeat] = []
        self._group: Any = None
        self._before: dict[str, tuple[int, int]] = {}  # node -> (offset, error) of its clock before the load
        self._quiet = ExitStack()  # what Ray prints from threads of its own must not get into a report on stdout
        self._quiet.enter_context(redirect_stdout(sys.stderr))
        self._ours = not ray.is_initialized()
        if self._ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                _knock(cluster.address)
                ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                self._quiet.close()
                said = " ".join(str(error).split())[:200]
                raise UsageError(
                    f"cannot reach a Ray cluster at {cluster.address}: {said}",
                    remedy="ray start --head on this machine, or ray start --address=HEAD:6379 to join one",
                ) from error

    def reserve(self, wanted: int | str, most: int | None) -> int:
        """Take room for so many workers, spread over the nodes; `auto`: as many as `workers_per_node` says. How many.

        Raises:
            UsageError: the cluster does not have the room, or not in time.
        """
        need, each = self._cluster.resources, self._cluster.workers_per_node
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        room = [min(int(node["Resources"].get(name, 0.0) // want) for name, want in need.items()) for node in nodes]
        auto = sum(min(each, space) for space in room)
        count = wanted if isinstance(wanted, int) else auto
        count = count if most is None else min(count, most)
        try:
            if not 0 < count <= sum(room):
                told = f"{count or 1} workers with {need} each: its {len(nodes)} nodes have room for {sum(room)}"
                raise UsageError(f"the Ray cluster has no room for {told}", remedy="fewer workers, or more nodes")
            self._group = self._ray.util.placement_group([dict(need) for _ in range(count)], strategy="SPREAD")
            if not self._group.wait(self._cluster.timeout):
                waited = format_duration(self._cluster.timeout)
                told = f"the Ray cluster had no free room for {count} workers with {need} each within {waited}"
                raise UsageError(told, remedy="let others finish (ray status), or give load.ray.timeout more")
        except BaseException:
            self.close()
            raise
        return count

    def seat(self, index: int, hear: Hear) -> RaySeat:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        need = dict(self._cluster.resources)
        host = self._ray.remote(RayHost).options(
            num_cpus=need.pop("CPU", 0),
            num_gpus=need.pop("GPU", 0),
            memory=need.pop("memory", None),
            resources=need,
            max_concurrency=4,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index),
        )
        seat = RaySeat(self._ray, host.remote(index), hear)
        self._seats.append(seat)
        return seat

    def synchronise(self) -> None:
        """Measure each node's clock, and tell its seats: they bring the start to that clock."""
        for node, seats in self._by_node().items():
            self._before[node] = offset, _ = self._clock(seats[0])
            for seat in seats:
                seat.clock_offset_ns = offset

    def facts(self) -> dict[str, Any]:
        """By node: its workers, and its monotonic clock less ours, how exactly that is known, and how it drifted."""
        return {"nodes": {node: self._node(node, seats) for node, seats in self._by_node().items()}}

    def close(self) -> None:
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
            self._group = None
        if self._ours:
            self._ray.shutdown()
        self._quiet.close()

    def _by_node(self) -> dict[str, list[RaySeat]]:
        nodes: dict[str, list[RaySeat]] = {}
        for seat in self._seats:
            if seat.about is not None:
                nodes.setdefault(seat.node, []).append(seat)
        return nodes

    def _node(self, node: str, seats: list[RaySeat]) -> dict[str, Any]:
        about = seats[0].about
        assert about is not None
        offset, error = self._before.get(node, (None, None))
        facts = {
            "host": about.host,
            "cores": about.cores,
            "workers": [seat.worker for seat in seats],
            "clock_offset_ns": offset,
            "clock_error_ns": error,
            "clock_drift_ns": None,
            "steal_share": None,
        }
        alive = next((seat for seat in seats if not seat.lost), None)
        if alive is None or offset is None:
            return facts | {"lost": alive is None}
        try:
            facts["clock_drift_ns"] = self._clock(alive)[0] - offset
            facts["steal_share"] = self._ray.get(alive.actor.steal_share.remote(), timeout=_PING_S)
        except (self._ray.exceptions.RayError, TimeoutError):
            pass  # it was lost just now: what is not known stays unknown
        return facts

    def _clock(self, seat: RaySeat) -> tuple[int, int]:
        """(the node's clock less ours, the error of that) in ns, from the quickest of some round trips.

        The node read its clock at some instant of the round trip, so half of that is the error's bound.
        """
        best: tuple[int, int] | None = None
        for _ in range(_PINGS):
            before = now_ns()
            there = self._ray.get(seat.actor.now_ns.remote(), timeout=_PING_S)
            after = now_ns()
            if best is None or after - before < 2 * best[1]:
                best = there - (before + after) // 2, (after - before + 1) // 2
        assert best is not None
        return best
