"""action.yml: its shape, and its shell steps as a runner executes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: dict[str, dict[str, Any]] = {step["name"]: step for step in ACTION["runs"]["steps"]}
INPUT = re.compile(r"inputs\.([\w-]+)")
CONFIG = """\
name: tiny
backend: {kind: sim, ttft: 5ms, itl: 1ms}
workload: {kind: chat, turns: 1, output_tokens: 4, think: 0, system_tokens: 8, input_tokens: 8}
load: {concurrency: 4, sessions: 60}
slo: ["ttft.p50 < 4s"]
"""


class Runner:
    """What GitHub's runner does for a composite action: inputs to environment, one bash a step, two files to write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary, self.output = folder / "step-summary.md", folder / "step-output"

    def run(self, name: str, outputs: dict[str, str] | None = None, **inputs: str) -> subprocess.CompletedProcess[str]:
        step = STEPS[name]
        given = {key.replace("_", "-"): value for key, value in inputs.items()}
        values = {key: str(about.get("default", "")) for key, about in ACTION["inputs"].items()} | given
        env = {key: self._value(str(text), values, outputs or {}) for key, text in step.get("env", {}).items()}
        self.summary.touch()
        self.output.touch()
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_OUTPUT": str(self.output)}
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.folder,
            env=os.environ | {"TERM": "dumb", "GITHUB_ACTIONS": "true"} | own | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())

    @staticmethod
    def _value(text: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
        (expression,) = re.findall(r"^\$\{\{ (.*) \}\}$", text)
        for part in expression.split(" || "):
            kind, name = part.split(".", 1) if part.startswith("inputs.") else ("other", part)
            value = inputs[name] if kind == "inputs" else outputs.get(part.rpartition(".")[2], "")
            if value:
                return value
        return ""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return Runner(tmp_path)


def test_its_shape() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for section in ("inputs", "outputs"):
        assert all(about["description"] for about in ACTION[section].values())
    for step in STEPS.values():
        assert ("uses" in step) != ("run" in step)
        if "run" in step:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"]  # text of a pull request never becomes code: it comes by the environment
    used = set(INPUT.findall(yaml.safe_dump(ACTION["runs"])))
    assert used == set(ACTION["inputs"])


def test_install(runner: Runner) -> None:
    """Shown, not done: the command, with the action's own folder as the default package."""
    (runner.folder / "bin").mkdir()
    (runner.folder / "bin" / "python").write_text('#!/bin/sh\necho "$@"\n')
    (runner.folder / "bin" / "python").chmod(0o755)
    assert runner.run("Install", {"action_path": "/the action"}).stdout.endswith("pip-version-check /the action\n")
    assert runner.run("Install", {"action_path": "/a"}, package="harness==1").stdout.endswith("check harness==1\n")


def test_a_run_with_a_gate(runner: Runner) -> None:
    gate = "ttft.p50 < 3s\n\nttft.p50 < 1us\n"
    done = runner.run("Measure", config="tiny.yaml", overrides="load.sessions=48\nload.error_budget=1\n", gate=gate)
    told = runner.outputs()
    assert done.returncode == 0, done.stderr
    assert told["exit-code"] in ("10", "4"), done.stderr  # 4 where the machine was too busy to measure
    assert (runner.folder / told["run"] / "summary.json").is_file()
    assert "load:\n  concurrency: 4\n" in (runner.folder / told["run"] / "experiment.yaml").read_text()
    summary = runner.summary.read_text()
    assert summary.startswith("## tiny") and "ttft.p50 \\< 1us" in summary
    assert len(summary.encode()) < 1024 * 1024
    assert ET.parse(runner.folder / "harness-results/junit.xml").getroot().tag == "testsuites"
    judged = runner.run("Judge", told)
    assert judged.returncode == int(told["exit-code"])
    assert "::error title=harness::" in judged.stdout


def test_an_ab_test(runner: Runner) -> None:
    done = runner.run("Measure", config="tiny.yaml", candidate="tiny.yaml", pairs="3", overrides="load.sessions=24")
    told = runner.outputs()
    assert told["exit-code"] in ("0", "4", "11", "12"), done.stderr
    assert (runner.folder / told["run"] / "ab.json").is_file()
    assert "tiny against tiny" in runner.summary.read_text()


def test_a_wrong_config_fails_the_job(runner: Runner) -> None:
    done = runner.run("Measure", config="tiny.yaml", overrides="load.concurency=4", gate="ttft.p50 < 1s")
    assert "Did you mean" in done.stderr
    assert runner.outputs() == {"exit-code": "2", "run": ""}
    judged = runner.run("Judge", runner.outputs())
    assert (judged.returncode, "wrong config" in judged.stdout) == (2, True)


@pytest.mark.parametrize(
    ("code", "on", "left"), [("0", "fail", 0), ("12", "fail", 12), ("12", "warn", 0), ("", "warn", 1)]
)
def test_judge(runner: Runner, code: str, on: str, left: int) -> None:
    assert runner.run("Judge", {"exit-code": code}, on_inconclusive=on).returncode == left


def test_the_documents_give_it_inputs_that_it_has() -> None:
    told = (ROOT / "docs/ci.md").read_text()
    flows = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", told, re.DOTALL) if "jobs:" in block]
    steps = [step for flow in flows for job in flow["jobs"].values() for step in job["steps"]]
    ours = [step["with"] for step in steps if "/harness@" in step.get("uses", "")]
    assert len(ours) == 2
    assert all(set(given) <= set(ACTION["inputs"]) for given in ours)
    assert set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| (`.*?`) \|", told, re.MULTILINE)))) >= set(
        ACTION["inputs"]
    )
