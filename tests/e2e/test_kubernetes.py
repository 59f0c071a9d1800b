"""The manifests of docker/kubernetes without a cluster: their own command lines, with the variables that Kubernetes
would put in, as processes against one simulated engine."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

HARNESS = (sys.executable, "-m", "harness")
KEY = {"HARNESS_API_KEY": "sk-lab"}
KUBERNETES = Path(__file__).resolve().parents[2] / "docker/kubernetes"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


def expanded(words: list[str], values: Mapping[str, str], folder: Path) -> list[str]:
    """As the kubelet does it: $(NAME) is replaced. The pod's mounts are folders of ours."""
    told = [re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], word) for word in words]
    return [re.sub(r"/(config|results)(?=/|$)", rf"{folder}/\1", word) for word in told]


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    command = [sys.executable, "-m", "harness", "sim", "--port", "0", "--profile", "instant"]
    sim = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert sim.stdout is not None
    yield sim.stdout.readline().split()[-1]
    sim.terminate()
    sim.wait(30)


def config(text: str, url: str) -> str:
    told = yaml.safe_load(text)
    told["backend"]["url"] = url
    told["load"] |= {"warmup": "0s", "duration": "2s", "workers": 1}
    told["workload"]["think"] = "50ms"
    return str(yaml.safe_dump(told))


def play(job: dict[str, Any], folder: Path, start: str) -> bool:
    """All pods of the job at once. False where the start had passed for one of them."""
    shards = job["spec"]["completions"]
    values = {"SHARDS": str(shards), "START_AT": start}
    commands = [
        expanded(container(job)["args"], values | {"JOB_COMPLETION_INDEX": str(index)}, folder)
        for index in range(shards)
    ]
    pods = [
        subprocess.Popen(
            [*HARNESS, *command, "--quiet"], cwd=folder, env=os.environ | KEY, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    said = [pod.communicate()[1] for pod in pods]
    if any("nothing was sent" in words and pod.returncode == 2 for pod, words in zip(pods, said, strict=True)):
        return False
    for pod, words in zip(pods, said, strict=True):
        assert pod.returncode in (0, 4), words  # other tests may starve it of its core
    return True


def test_the_pods_of_the_job_make_one_run(tmp_path: Path, engine: str) -> None:
    data, _, job = documents("shards.yaml")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/experiment.yaml").write_text(config(data["data"]["experiment.yaml"], engine))
    begin = time.monotonic()
    assert play(job, tmp_path, data["data"]["start-at"]) is False  # whoever forgets to choose a start sends nothing
    assert not list((tmp_path / "results").rglob("records-*"))
    lead_s = 2 + math.ceil(2 * (time.monotonic() - begin))  # how long pods take to start here, now
    while not play(job, tmp_path, start := str(int(time.time()) + lead_s)):
        lead_s *= 2
    (line,) = expanded(container(documents("merge.yaml")[0])["args"], {}, tmp_path)
    shell = line.replace("exec harness", f"exec {sys.executable} -m harness") + " --json --quiet"
    merged = subprocess.run(
        ["sh", "-c", shell],
        cwd=tmp_path,
        env=os.environ | {"START_AT": start},
        capture_output=True,
        text=True,
        check=False,
    )
    assert merged.returncode in (0, 4, 10, 12), merged.stderr
    summary = json.loads(merged.stdout)
    told = [json.loads(path.read_text()) for path in (tmp_path / "results/shards" / start).glob("*/summary.json")]
    assert len(told) == job["spec"]["completions"]
    assert summary["counts"]["sessions"]["finished"] == sum(one["counts"]["sessions"]["finished"] for one in told)
    assert summary["counts"]["requests"]["sent"] == sum(one["counts"]["requests"]["sent"] for one in told) > 0
