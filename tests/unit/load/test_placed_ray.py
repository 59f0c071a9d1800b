"""Workers by way of Ray, with a stand-in for Ray in this process: the hosts and their workers are real ones.

Against Ray itself: tests/ray/test_ray.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness import registry
from harness.backends.protocol import Target
from harness.config import BackendConfig, Experiment
from harness.config.cluster import RayCluster
from harness.errors import MissingExtra, UsageError
from harness.load import ray_host, ray_seat
from harness.load.fleet import Fleet
from harness.load.messages import WorkerSpec
from harness.load.opening import endpoint_of
from harness.load.placed_ray import RayPlacement
from harness.load.ray_host import RayHost
from harness.records.reader import read_records


class RayError(Exception):
    pass


class ActorUnavailableError(RayError):
    pass


class Actor:
    """Calls of a host, as Ray makes them; `dead` and `away` are what may happen to its node."""

    def __init__(self, host: RayHost) -> None:
        self.host = host
        self.dead = False
        self.away = 0

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any) -> Any:
            if self.dead:
                return RayError("The actor died because its node has died.")
            if self.away and name == "hear":
                self.away -= 1
                return ActorUnavailableError("no answer")
            return getattr(self.host, name)(*words)

        return SimpleNamespace(remote=call)


class StandIn(ModuleType):
    """As much of the module `ray` as harness uses."""

    def __init__(self, cpus: tuple[float, ...] = (1.0, 1.0)) -> None:
        super().__init__("ray")
        self.cpus = cpus
        self.actors: list[Actor] = []
        self.closed = 0
        self.room = True
        self.told: dict[str, Any] = {}
        self.exceptions = SimpleNamespace(RayError=RayError, ActorUnavailableError=ActorUnavailableError)
        self.util = SimpleNamespace(
            placement_group=self._group,
            remove_placement_group=lambda group: None,
            get_node_ip_address=lambda: "10.0.0.9",
        )

    def is_initialized(self) -> bool:
        return False

    def init(self, **told: Any) -> None:
        self.told = told

    def shutdown(self) -> None:
        self.closed += 1

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in self.cpus]

    def _group(self, bundles: list[dict[str, float]], strategy: str) -> Any:
        assert strategy == "SPREAD"
        self.bundles = bundles
        return SimpleNamespace(wait=lambda seconds: self.room)

    def remote(self, kind: Any) -> Any:
        def make(index: int) -> Actor:
            self.actors.append(Actor(kind(index)))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=make))

    def get(self, asked: Any, timeout: float | None = None) -> Any:
        if isinstance(asked, Exception):
            raise asked
        return asked

    def kill(self, actor: Actor) -> None:
        actor.host._seat.close()


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in, strategies = StandIn(), ModuleType("ray.util.scheduling_strategies")
    strategies.PlacementGroupSchedulingStrategy = lambda *_, **__: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setitem(sys.modules, "ray.util", ModuleType("ray.util"))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    names = iter(["10.0.0.8 (aaaa)", "10.0.0.9 (bbbb)"] * 9)
    monkeypatch.setattr(ray_host, "_node", lambda: next(names))
    return stand_in


@pytest.fixture(scope="module")
def engine() -> Iterator[BackendConfig]:
    backend = registry.load("harness.backends", "sim")
    with backend(backend.Params(ttft="5ms", itl="1ms", model="tiny")).launch() as params:
        yield params


def specs(folder: Path, params: BackendConfig, size: int, **load: Any) -> list[WorkerSpec]:
    told = {
        "backend": params.model_dump(mode="json"),
        "workload": {"kind": "chat", "turns": 1, "output_tokens": 5},
        "load": load,
    }
    asked = Experiment.model_validate(told)
    return [
        WorkerSpec(
            experiment=asked.model_dump(mode="json"),
            shard=shard,
            shards=size,
            target=Target(backend=params.kind, url=str(params.url), model="tiny"),
            endpoint=endpoint_of(asked, params),
            run_id="run",
            records_path=str(folder / f"records-{shard}.jsonl"),
            text_calibration={},
            run_nonce="nonce",
        )
        for shard in range(size)
    ]


def placed(cluster: RayCluster | None = None, wanted: int | str = "auto", most: int | None = None) -> Fleet:
    placement = RayPlacement(cluster or RayCluster())
    return Fleet(placement.reserve(wanted, most), placement)


def nothing(*_: Any) -> None:
    """Nobody looks."""


@pytest.mark.parametrize("chunk", [3000, 50], ids=["a few records", "a part of one"])
def test_all_records_come_back(
    tmp_path: Path, ray: StandIn, engine: BackendConfig, monkeypatch: Any, chunk: int
) -> None:
    """In many chunks; a message counts when the records before it have come."""
    monkeypatch.setattr(ray_host, "_CHUNK", chunk)
    seen = []
    with placed() as fleet:
        assert fleet.size == 2
        fleet.brief(specs(tmp_path, engine, 2, rate=200, sessions=60))
        reports = fleet.play(lambda snapshots, t_ns: seen.append((t_ns, len(snapshots))))
        nodes = fleet.facts()["nodes"]
        folders = [Path(actor.host._folder.name) for actor in ray.actors]
    assert [(report.worker, report.died, report.sessions_finished) for report in reports] == [
        (0, None, 30),
        (1, None, 30),
    ]
    found = list(read_records([tmp_path / "records-0.jsonl", tmp_path / "records-1.jsonl"]))
    assert sorted(int(record.session.lstrip("s")) for record in found) == list(range(60))
    assert min(record.sent_ns or 0 for record in found) >= 0
    assert seen and seen[-1][1] == 2
    assert ray.closed == 1 and not any(folder.exists() for folder in folders)
    for name, worker in (("10.0.0.8 (aaaa)", 0), ("10.0.0.9 (bbbb)", 1)):
        assert nodes[name]["workers"] == [worker]
        assert abs(nodes[name]["clock_offset_ns"]) <= nodes[name]["clock_error_ns"]
        assert abs(nodes[name]["clock_drift_ns"]) < 1e9


def test_the_start_is_brought_to_the_clock_of_the_node(tmp_path: Path, ray: StandIn, engine: BackendConfig) -> None:
    """The second node's clock is an hour ahead, and told so: its worker still starts with the other."""
    hour = 3600 * 10**9
    with placed() as fleet:
        host = ray.actors[1].host
        start = host.start
        host.now_ns = lambda: time.monotonic_ns() + hour  # type: ignore[method-assign]
        host.start = lambda at_ns: start(at_ns - hour)  # type: ignore[method-assign]
        fleet.brief(specs(tmp_path, engine, 2, rate=200, sessions=20))
        fleet.play(nothing)
        offset = fleet.facts()["nodes"]["10.0.0.9 (bbbb)"]["clock_offset_ns"]
    assert abs(offset - hour) < 10**9
    assert len(list(read_records([tmp_path / "records-1.jsonl"]))) == 10


def test_a_node_that_is_lost_and_one_that_was_away(tmp_path: Path, ray: StandIn, engine: BackendConfig) -> None:
    with placed() as fleet:
        fleet.brief(specs(tmp_path, engine, 2, concurrency=2, duration="2s"))
        ray.actors[0].away = 2

        def lose() -> None:
            ray.actors[1].dead = True

        threading.Timer(2.2, lose).start()  # the load starts after one
        alive, lost = fleet.play(nothing)
        nodes = fleet.facts()["nodes"]
    assert alive.died is None and alive.requests > 20
    assert lost.died == "node 10.0.0.9 (bbbb) was lost"
    assert nodes["10.0.0.9 (bbbb)"]["lost"] and nodes["10.0.0.9 (bbbb)"]["clock_drift_ns"] is None
    kept = list(read_records([tmp_path / "records-1.jsonl"]))
    assert kept and all(record.status == "ok" for record in kept)


def test_a_worker_that_dies_on_a_node_that_lives(tmp_path: Path, ray: StandIn, engine: BackendConfig) -> None:
    with placed(wanted=1) as fleet:
        fleet.brief(specs(tmp_path, engine, 1, concurrency=2, duration="30s"))
        threading.Timer(1.5, ray.actors[0].host._seat._popen.kill).start()
        [report] = fleet.play(nothing)
    assert report.died == "killed by signal 9"


def test_stop_reaches_the_node(tmp_path: Path, ray: StandIn, engine: BackendConfig) -> None:
    with placed(wanted=1) as fleet:
        fleet.brief(specs(tmp_path, engine, 1, concurrency=2, duration="60s"))
        threading.Timer(1.5, fleet.stop).start()
        [report] = fleet.play(nothing)
    assert report.interrupted and report.died is None


@pytest.mark.parametrize(
    ("cpus", "cluster", "wanted", "most", "count"),
    [
        ((4.0, 4.0), {}, "auto", None, 2),
        ((4.0, 4.0), {"workers_per_node": 3}, "auto", None, 6),
        ((0.0, 4.0, 1.0), {"workers_per_node": 3}, "auto", None, 4),
        ((4.0, 4.0), {}, 7, None, 7),
        ((4.0, 4.0), {}, 7, 5, 5),
        ((4.0, 4.0), {"resources": {"CPU": 0.5}}, 16, None, 16),
    ],
)
def test_how_many_workers(
    ray: StandIn, cpus: tuple[float, ...], cluster: dict[str, Any], wanted: int | str, most: int | None, count: int
) -> None:
    ray.cpus = cpus
    placement = RayPlacement(RayCluster(**cluster))
    assert placement.reserve(wanted, most) == count == len(ray.bundles)
    placement.close()


@pytest.mark.parametrize(("wanted", "room", "said"), [(3, True, "has no room for 3"), (2, False, "no free room for 2")])
def test_no_room(ray: StandIn, wanted: int, room: bool, said: str) -> None:
    ray.room = room
    with pytest.raises(UsageError, match=said):
        placed(wanted=wanted)
    assert ray.closed == 1


def test_no_cluster(ray: StandIn, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    with pytest.raises(UsageError, match="cannot reach a Ray cluster at 127"):
        RayPlacement(RayCluster(address=f"127.0.0.1:{unused_port}"))
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("no cluster is running")))
    with pytest.raises(UsageError, match="at auto: no cluster is running"):
        RayPlacement(RayCluster())


def test_a_node_with_another_version(tmp_path: Path, ray: StandIn, engine: BackendConfig, monkeypatch: Any) -> None:
    monkeypatch.setattr(ray_host, "__version__", "0.0.9")
    with placed(wanted=1) as fleet, pytest.raises(UsageError, match=r"node 10.* has harness 0\.0\.9"):
        fleet.brief(specs(tmp_path, engine, 1, rate=5, sessions=2))


def test_the_loopback_of_another_machine(tmp_path: Path, ray: StandIn, engine: BackendConfig, monkeypatch: Any) -> None:
    monkeypatch.setattr(ray_seat, "wall_clock", lambda: SimpleNamespace(boot="another"))
    with placed(wanted=1) as fleet, pytest.raises(UsageError, match="is the loopback: on node 10"):
        fleet.brief(specs(tmp_path, engine, 1, rate=5, sessions=2))


def test_a_node_that_cannot_start_it(tmp_path: Path, ray: StandIn, engine: BackendConfig) -> None:
    with placed(wanted=1) as fleet:
        ray.actors[0].dead = True
        with pytest.raises(UsageError, match="Ray could not start worker 0: The actor died"):
            fleet.brief(specs(tmp_path, engine, 1, rate=5, sessions=2))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra) as raised:
        RayPlacement(RayCluster())
    assert raised.value.exit_code == 2
    assert raised.value.remedy == "pip install 'inference-harness[ray]'"


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.example:6379"])
def test_addresses(address: str) -> None:
    assert RayCluster(address=address).address == address


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "local", "10.0.0.1", ":6379"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="neither auto nor host:port"):
        RayCluster(address=address)
