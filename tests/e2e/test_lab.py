"""The lab of docker/ without containers: the simulated engine, a run with its metrics port, and a real Prometheus that
scrapes both and answers the dashboard's own queries."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab_tools import find

ROOT = Path(__file__).resolve().parents[2]
IDLE = ("harness_request_errors_total",)  # no request fails here


def prometheus() -> str:
    found = find("prometheus")
    if found is None:
        pytest.skip("WITHOUT prometheus: make lab-tools gets it from Debian; or name it in $PROMETHEUS")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


@contextmanager
def process(command: list[str | Path], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        started = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def until(what: Callable[[], Any], *, alive: subprocess.Popen[bytes], log: Path) -> Any:
    """What it says once that is true. Ends with the process's log if the process does."""
    while True:
        if value := what():
            return value
        assert alive.poll() is None, log.read_text(errors="replace")
        time.sleep(0.1)


def up(url: str) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return ask


def query(base: str, expression: str) -> list[dict[str, Any]]:
    asked = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(asked, timeout=30) as answer:
        told = json.load(answer)
    assert told["status"] == "success"
    result: list[dict[str, Any]] = told["data"]["result"]
    return result


def scrapes(folder: Path, harness: int, engine: int) -> Path:
    """The lab's own config, with the names of its network replaced by ports of the loopback."""
    text = (ROOT / "docker/prometheus/prometheus.yaml").read_text(encoding="utf-8")
    for name, port in (("harness:9464", harness), ("engine:8000", engine)):
        assert name in text
        text = text.replace(name, f"127.0.0.1:{port}")
    path = folder / "prometheus.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def panels() -> list[str]:
    dashboard = json.loads((ROOT / "docker/grafana/dashboards/harness.json").read_text(encoding="utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [query.replace("[$__rate_interval]", "[4s]") for query in found if not any(idle in query for idle in IDLE)]


def lab_config(folder: Path, engine: int) -> Path:
    config = yaml.safe_load((ROOT / "docker/configs/lab.yaml").read_text(encoding="utf-8"))
    config["backend"] = {"kind": "openai", "url": f"http://127.0.0.1:{engine}/v1"}
    config["workload"] |= {"think": "100ms", "turns": 2, "output_tokens": 30}
    config["load"] = {"rate": "4/s", "duration": "60s"}  # interrupted once the test has seen enough
    config["slo"].append("e2e.p95 < 10s")  # every panel shows its limit
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def test_a_real_prometheus_sees_the_run_and_the_engine(tmp_path: Path) -> None:
    binary = prometheus()
    engine, metrics, port = free_port(), free_port(), free_port()
    harness: list[str | Path] = [sys.executable, "-m", "harness"]
    base = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        sim = stack.enter_context(process([*harness, "sim", "--port", str(engine)], tmp_path, "sim"))
        until(up(f"http://127.0.0.1:{engine}/health"), alive=sim, log=tmp_path / "sim.log")
        options = ["--storage.tsdb.path", tmp_path / "tsdb", "--web.listen-address", f"127.0.0.1:{port}"]
        config = f"--config.file={scrapes(tmp_path, metrics, engine)}"
        server = stack.enter_context(process([binary, config, *options], tmp_path, "prometheus"))
        until(up(f"{base}/-/ready"), alive=server, log=tmp_path / "prometheus.log")
        command = [*harness, "run", lab_config(tmp_path, engine), "--quiet", "--metrics-port", str(metrics)]
        run = stack.enter_context(process(command, tmp_path, "run"))

        def answered(expression: str) -> list[dict[str, Any]]:
            seen: list[dict[str, Any]] = until(
                lambda: [one for one in query(base, expression) if one["value"][1] != "NaN"],
                alive=run,
                log=tmp_path / "run.log",
            )
            return seen

        for expression in panels():
            assert answered(expression), expression
        (info,) = answered("harness_run_info")
        assert info["metric"]["name"] == "lab" and info["metric"]["simulated"] == "true"
        (ok,) = answered('harness_requests_total{outcome="ok"} > 5')
        (done,) = answered("sum(vllm:request_success_total) > 5")
        assert float(ok["value"][1]) > 5 and float(done["value"][1]) > 5
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    (folder,) = (tmp_path / "results").iterdir()
    assert (folder / "summary.json").exists()


def test_a_busy_metrics_port_sends_nothing(run_harness: Callable[..., Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = run_harness("run", "quickstart", "--metrics-port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr and "--metrics-port 0" in done.stderr
    assert not (tmp_path / "results").exists()
