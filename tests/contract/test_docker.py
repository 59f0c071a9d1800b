"""The lab of docker/: its files against the parsers of their own tools, where those are installed, and against each
other always. Every query of the dashboard must name a metric that somebody serves."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
import yaml

from harness.config.load import load
from harness.live.exporter import Exporter
from harness.live.progress import Goal
from harness.records.snapshot import Health, Snapshot
from harness.telemetry.aliases import COUNTERS, GAUGES, HISTOGRAMS, SHARES
from tests.lab_tools import VENV, compose_schema, find

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PROFILES = ("sim", "llamacpp", "vllm", "vllm-cpu", "observe", "gateway")
METRIC = re.compile(r"\b(?:harness_|vllm:|llamacpp:|sglang:)\w+")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana/dashboards/harness.json").read_text(encoding="utf-8"))


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def tool(name: str) -> str:
    found = find(name)
    if found is None:
        pytest.skip(f"WITHOUT {name}: it is not installed; make lab-tools gets what can be had")
    return found


def exported() -> set[str]:
    goal = Goal(name="n", sessions=1, duration_s=1.0, limits={"ttft.p95": 0.5})
    one = Snapshot(worker=0, t_ns=0, errors={"timeout": 1}, health=Health(kernel_delay_p99_s=0.0))
    exporter = Exporter()
    exporter.describe("run", goal)
    exporter.update([one])
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    page = b"".join(exporter.app(environ, lambda status, headers: None)).decode()
    return {line.split("{")[0].split(" ")[0] for line in page.splitlines() if not line.startswith("#")}


def known_of_engines() -> set[str]:
    names = {name for table in (GAUGES, SHARES) for each in table.values() for name in each}
    names |= {f"{name}_total" for each in COUNTERS.values() for name in each}
    return names | {f"{name}_{part}" for each in HISTOGRAMS.values() for name in each for part in ("bucket", "count")}


def test_each_query_names_a_metric_that_exists() -> None:
    there = exported() | known_of_engines()
    for query in queries():
        named = METRIC.findall(query)
        assert named, f"no metric in {query}"
        assert set(named) <= there, query


def test_the_dashboard_joins_the_run_and_both_engines() -> None:
    named = {name for query in queries() for name in METRIC.findall(query)}
    assert {name.partition(":")[0] for name in named if ":" in name} == {"vllm", "llamacpp"}
    assert any(name.startswith("harness_") for name in named)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_uses_the_datasource_that_is_provisioned() -> None:
    text = (DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    assert {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]} == {
        source["uid"]
    }


def test_profiles_and_who_waits_for_whom() -> None:
    assert {profile for service in SERVICES.values() for profile in service["profiles"]} == set(PROFILES)
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other], f"{name} waits for {other}, which has no healthcheck"
            assert set(service["profiles"]) <= set(SERVICES[other]["profiles"])


@pytest.mark.parametrize("name", [name for name in SERVICES if name.startswith("run-")])
def test_runs_are_confined_and_keep_their_results(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"]
    assert "results:/results" in service["volumes"] and "--out=/results" in service["command"]
    assert {"--metrics-host=0.0.0.0", "--metrics-port=9464", "--live-url=0.0.0.0:9464"} <= set(service["command"])
    assert [port.rpartition(":")[2] for port in service["ports"]] == ["9464"]


def test_prometheus_scrapes_the_names_of_the_network() -> None:
    jobs = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {target for job in jobs for group in job["static_configs"] for target in group["targets"]}
    assert targets == {"harness:9464", "engine:8000"}
    for engine in ("sim", "llamacpp", "vllm", "vllm-cpu"):
        assert SERVICES[engine]["networks"]["lab"]["aliases"] == ["engine"]


def test_every_published_port_is_of_the_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_the_example_shows_the_defaults() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text)) | {"COMPOSE_PROFILES": "sim"}
    for line in (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            assert defaults.get(name) == value, name


def test_the_config_of_the_lab_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_API_KEY", "sk-lab")
    overrides = ["backend.url=http://engine:8000/v1", "load.duration=60s", "load.rate=2/s", "backend.model=lab"]
    assert load(str(DOCKER / "configs/lab.yaml"), overrides).experiment.name == "lab"


def test_the_image_needs_no_root_and_no_compiler() -> None:
    last = (DOCKER / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]
    assert re.search(r"^USER \d+:\d+$", last, re.M)
    assert not re.search(r"gcc|g\+\+|build-essential|cmake", last)
    assert re.search(r"^STOPSIGNAL SIGINT$", last, re.M)  # which drains; SIGTERM does not


def test_the_context_of_the_build_holds_what_is_copied() -> None:
    let_in = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.M))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert {name for line in copied for name in line.split()} == let_in


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_parses(profile: str) -> None:
    command = [tool("docker-compose"), "-f", DOCKER / "compose.yaml", "--profile", profile, "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_fits_its_schema() -> None:
    schema = compose_schema()
    if schema is None:
        pytest.skip("WITHOUT the schema of compose: make lab-tools gets it")
    text = re.sub(r"\$\{\w+(?::-([^}]*))?\}", r"\1", (DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    check = "import json, sys, jsonschema; jsonschema.validate(*(json.load(open(path)) for path in sys.argv[1:]))"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(yaml.safe_load(text), file)
        file.flush()
        command = [VENV / "bin/python", "-c", check, file.name, schema]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_dockerfile_has_no_lint() -> None:
    done = subprocess.run([tool("hadolint"), DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_prometheus_takes_its_config() -> None:
    command = [tool("promtool"), "check", "config", DOCKER / "prometheus/prometheus.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def manifests() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((DOCKER / "kubernetes").glob("*.yaml")):
        yield from ((path, each) for each in yaml.safe_load_all(path.read_text(encoding="utf-8")))


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for _, each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize("version", ["1.29", "1.37"])  # per-index limits of failure are there from 1.29 on
@pytest.mark.parametrize("path", sorted((DOCKER / "kubernetes").glob("*.yaml")), ids=lambda path: path.stem)
def test_manifests_fit_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", version, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("job", ["harness-shards", "harness-merge"])
def test_pods_are_confined_as_the_image_is_made(job: str) -> None:
    pod = named("Job", job)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user, group = re.findall(r"^USER (\d+):(\d+)$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.M)[-1]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (int(user), int(group))
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["image"] == COMPOSE["x-run"]["image"].partition(":-")[2].rstrip("}")
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/results", "/tmp"}
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_as_many_pods_as_shards_each_failing_alone() -> None:
    job = named("Job", "harness-shards")["spec"]
    environment = {each["name"]: each.get("value") for each in job["template"]["spec"]["containers"][0]["env"]}
    assert job["completionMode"] == "Indexed"
    assert str(job["completions"]) == str(job["parallelism"]) == environment["SHARDS"] == str(job["maxFailedIndexes"])
    assert job["backoffLimitPerIndex"] == 0 and "backoffLimit" not in job


def test_the_start_in_the_manifests_has_passed() -> None:
    """Whoever forgets to choose one sends nothing."""
    start = named("ConfigMap", "harness")["data"]["start-at"]
    assert datetime.fromisoformat(start) < datetime.now(UTC)
