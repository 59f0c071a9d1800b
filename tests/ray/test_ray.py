"""`load.on: ray` on a real cluster of three nodes, all on this machine. Run by `make test-ray`, in a venv with Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.load import load
from harness.plan import make_plan

pytestmark = pytest.mark.ray
if os.environ.get("HARNESS_REQUIRE_RAY") == "1":
    import_module("ray.cluster_utils")
else:
    pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

# What a busy machine does to the client is no fault of what is tested here.
CLIENT = {"loop_lag", "send_lag", "worker_cpu", "steal", "gc_pause", "coalesced", "achieved_rate"}
SESSIONS = 3000


class ThreeNodes:
    """A head and two more, each with one core by its own word."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=self._node(include_dashboard=False))
        self.others = [self.cluster.add_node(**self._node()) for _ in range(2)]
        self.cluster.wait_for_nodes()

    @staticmethod
    def _node(**more: Any) -> dict[str, Any]:
        return {"num_cpus": 1, "object_store_memory": 80_000_000, **more}

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def kill_one(self) -> None:
        """As if its power failed."""
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[ThreeNodes]:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
    three = ThreeNodes()
    yield three
    three.cluster.shutdown()


def config(folder: Path, address: str, **changes: Any) -> Path:
    ray = {"address": address, **changes.pop("ray", {})}
    told = {
        "name": "rayed",
        "seed": 7,
        "backend": {"kind": "sim", "ttft": "10ms", "itl": "1ms"},
        "workload": {"kind": "chat", "turns": 1, "output_tokens": 2, "input_tokens": 8, "system_tokens": 8},
        "load": {"rate": "400/s", "sessions": SESSIONS, "on": "ray", "ray": ray, **changes},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


def start(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "run", path, "--json", "-q"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(word) for word in command], cwd=path.parent, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )


def records(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("results/*/records-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def errors(summary: dict[str, Any]) -> dict[str, str]:
    return {
        finding["code"]: finding["message"]
        for finding in summary["validity"]["findings"]
        if finding["severity"] == "error" and finding["code"] not in CLIENT
    }


def test_three_nodes_play_one_plan(tmp_path: Path, nodes: ThreeNodes) -> None:
    path = config(tmp_path, nodes.address)
    run = start(path)
    out, err = run.communicate(timeout=150)
    assert run.returncode in (0, 4), err
    summary = json.loads(out)
    assert errors(summary) == {}
    assert summary["counts"]["requests"] == {"sent": SESSIONS, "ok": SESSIONS, "failed": 0, "by_error": {}}

    plan = make_plan(load(path).experiment)
    assert plan.arrivals_ns is not None
    asked = {
        (plan.session(index).id, node.name, index % 3, int(arrival), node.input_tokens, node.output_tokens)
        for index, arrival in enumerate(plan.arrivals_ns)
        for node in plan.session(index).nodes
    }
    found = records(tmp_path)
    done = [
        tuple(record[key] for key in ("session", "node", "worker", "intended_ns", "planned_input", "planned_output"))
        for record in found
    ]
    assert len(done) == len(asked) and set(done) == asked
    assert all(record["status"] == "ok" and record["output_tokens"] == 2 for record in found)

    [folder] = (tmp_path / "results").iterdir()
    machines = json.loads((folder / "manifest.json").read_text())["machine"]["nodes"]
    assert sorted(node["workers"] for node in machines.values()) == [[0], [1], [2]]
    for node in machines.values():  # all of them are this machine: their clock is ours
        assert abs(node["clock_offset_ns"]) <= node["clock_error_ns"]
        assert node["clock_drift_ns"] is not None
    assert summary["run"]["plan_sha256"] == plan.sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"workers": 50}, "no room for 50 workers with {'CPU': 1.0} each: its 3 nodes have room for 3"),
        ({"ray": {"resources": {"unobtainium": 1}}}, "no room for 1 workers with {'unobtainium': 1.0} each"),
    ],
)
def test_what_the_cluster_has_no_room_for(tmp_path: Path, nodes: ThreeNodes, change: dict[str, Any], said: str) -> None:
    run = start(config(tmp_path, nodes.address, **change))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert said in err and "Traceback" not in err
    assert not list(tmp_path.glob("results/*"))


def test_a_node_that_is_lost(tmp_path: Path, nodes: ThreeNodes) -> None:
    """The last test: afterwards there are two nodes."""
    path = config(tmp_path, nodes.address, rate="100/s", sessions=1200)
    run = start(path)
    end = time.monotonic() + 90
    while run.poll() is None and time.monotonic() < end:
        if len(list(tmp_path.glob("results/*/records-*.jsonl"))) == 3 and len(records(tmp_path)) > 150:
            break
        time.sleep(0.1)
    nodes.kill_one()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 4, err
    told = errors(json.loads(out))
    assert set(told) == {"worker_died"}
    assert "(node " in told["worker_died"] and "was lost" in told["worker_died"]

    [folder] = (tmp_path / "results").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    [lost] = [node for node in manifest["machine"]["nodes"].values() if node.get("lost")]
    [worker] = lost["workers"]
    by_worker = {number: [record for record in records(tmp_path) if record["worker"] == number] for number in range(3)}
    assert 20 < len(by_worker.pop(worker)) < 400  # what it had finished counts
    assert [len(found) for found in by_worker.values()] == [400, 400]  # the others went on
    assert all(record["status"] == "ok" for record in records(tmp_path))
