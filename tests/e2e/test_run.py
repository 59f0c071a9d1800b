"""`harness run` from the outside: what it leaves on disk, what it prints, and how it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

HARNESS = [sys.executable, "-m", "harness"]
SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "backend": {"kind": "sim", "ttft": "10ms", "itl": "1ms"},
    "workload": {
        "kind": "chat",
        "turns": 2,
        "output_tokens": 8,
        "think": "10ms",
        "system_tokens": 8,
        "input_tokens": 8,
    },
    "load": {"concurrency": 4, "sessions": 20},
}


def config(tmp_path: Path, **changes: Any) -> Path:
    """A config file: SMALL, with whole sections merged in."""
    data = {**SMALL}
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and key in data else value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def harness(*words: str | Path, cwd: Path, timeout: float = 60, env: dict[str, str] | None = None) -> Any:
    return subprocess.run(
        [*HARNESS, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
        check=False,
    )


CLIENT = {"loop_lag", "send_lag", "worker_cpu", "steal", "gc_pause", "coalesced", "achieved_rate"}


def trusted(done: Any) -> dict[str, Any]:
    """The summary of a run that passed, or that only a machine busy with other tests has spoilt."""
    assert done.returncode in (0, 4), done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    errors = {finding["code"] for finding in summary["validity"]["findings"] if finding["severity"] == "error"}
    assert errors <= CLIENT
    assert bool(errors) == (done.returncode == 4)
    return summary


def records(tmp_path: Path) -> list[dict[str, Any]]:
    files = sorted(tmp_path.glob("results/*/records-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_run_leaves_a_full_folder(tmp_path: Path) -> None:
    done = harness("run", config(tmp_path), "--json", cwd=tmp_path)
    summary = trusted(done)
    (folder,) = (tmp_path / "results").iterdir()
    assert sorted(path.name for path in folder.iterdir() if path.name != "telemetry.jsonl") == [
        "experiment.yaml",
        "manifest.json",
        "records-0.jsonl",
        "report.html",
        "summary.json",
    ]
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["counts"]["sessions"] == {"planned": 20, "finished": 20, "failed": 0}
    assert summary["counts"]["requests"] == {"sent": 40, "ok": 40, "failed": 0, "by_error": {}}
    assert summary["tokens"]["output"] == 40 * 8
    assert summary["target"]["simulated"] is True
    assert "SIMULATED" in done.stderr
    assert len({record["id"] for record in records(tmp_path)}) == 40


def test_latency_agrees_with_the_engines_own_truth(tmp_path: Path) -> None:
    truth_file = tmp_path / "truth.jsonl"
    path = config(tmp_path, backend={"truth": str(truth_file)})
    trusted(harness("run", path, "-q", "--json", cwd=tmp_path))
    truth = {row["id"]: row for row in map(json.loads, truth_file.read_text().splitlines())}
    seen = records(tmp_path)
    assert len(seen) == 40
    for record in seen:
        told = truth[record["id"]]
        assert record["output_tokens"] == told["output_tokens"]
        assert record["input_tokens"] == told["prompt_tokens"]
        assert record["bytes_in"] == told["bytes_out"]
        assert record["bytes_out"] == told["bytes_in"]
        assert record["chunks"] == told["output_tokens"]
        assert record["chunk_us"] == sorted(record["chunk_us"])


def test_the_resolved_config_runs_again(tmp_path: Path) -> None:
    trusted(harness("run", config(tmp_path), "-q", "--json", cwd=tmp_path))
    (folder,) = (tmp_path / "results").iterdir()
    again = harness("plan", folder / "experiment.yaml", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    plan = json.loads(again.stdout)
    assert json.loads((folder / "summary.json").read_text())["run"]["plan_sha256"] in json.dumps(plan)


def test_workers_play_the_same_plan(tmp_path: Path) -> None:
    path = config(tmp_path, load={"sessions": 24})
    shapes = []
    for count in (1, 3):
        out = tmp_path / f"w{count}"
        trusted(harness("run", path, "-q", "--json", "--workers", str(count), "--out", out, cwd=tmp_path))
        files = sorted(out.glob("*/records-*.jsonl"))
        assert len(files) == count
        rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        shapes.append(
            sorted((row["session"], row["node"], row["planned_input"], row["planned_output"]) for row in rows)
        )
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("wire", ["harness", "httpx"])
@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_wire_and_api(tmp_path: Path, wire: str, api: str, stream: bool) -> None:
    path = config(tmp_path, backend={"api": api, "stream": stream}, load={"wire": wire, "sessions": 6})
    done = harness("run", path, "--json", "-q", cwd=tmp_path)
    summary = trusted(done)
    assert summary["counts"]["requests"]["ok"] == 12
    assert summary["tokens"] == {**summary["tokens"], "output": 96, "source": "server"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--error-rate", "20%"], "http_500"),
        (["--midstream-error", "20%"], "stream_error"),
        (["--truncate", "20%"], "truncated_stream"),
        (["--reset", "20%"], "connection_reset"),
        (["--empty", "20%"], "empty_answer"),
        (["--garbage", "20%"], "garbage_event"),
        (["--stall", "20%", "--stall-for", "30s"], "timeout"),
    ],
)
def test_each_fault_has_its_own_name(tmp_path: Path, options: list[str], error: str) -> None:
    path = config(
        tmp_path,
        workload={"turns": 1},
        backend={"options": options},
        load={"sessions": 60, "timeout": "2s", "concurrency": 8},
    )
    done = harness("run", path, "--json", "-q", "-o", "load.error_budget=90%", cwd=tmp_path)
    requests = trusted(done)["counts"]["requests"]
    assert list(requests["by_error"]) == [error]
    assert requests["ok"] + requests["by_error"][error] == requests["sent"] == 60
    assert 2 <= requests["failed"] <= 30
    assert all(record["error"] in (None, error) for record in records(tmp_path))


def test_too_many_failures_make_the_run_invalid(tmp_path: Path) -> None:
    path = config(tmp_path, backend={"options": ["--error-rate", "50%"]}, slo=["error_rate < 100%"])
    done = harness("run", path, "--json", "-q", cwd=tmp_path)
    assert done.returncode == 4
    assert json.loads(done.stdout)["validity"]["verdict"] == "invalid"


def test_every_request_failing_is_never_a_success(tmp_path: Path) -> None:
    path = config(tmp_path, backend={"options": ["--empty", "100%"]}, workload={"turns": 1})
    assert harness("run", path, "-q", cwd=tmp_path).returncode in (3, 4)


def test_error_bodies_are_kept_but_short_and_redacted(tmp_path: Path) -> None:
    path = config(tmp_path, backend={"options": ["--error-rate", "30%"]}, workload={"turns": 1})
    harness("run", path, "-q", cwd=tmp_path)
    details = [record["error_detail"] for record in records(tmp_path) if record["error"]]
    assert details
    assert all("error" in detail and len(detail) <= 2048 for detail in details)


@pytest.mark.parametrize(("signals", "drained"), [(1, True), (2, False)])
def test_interrupts_keep_what_was_measured(tmp_path: Path, signals: int, drained: bool) -> None:
    path = config(
        tmp_path,
        backend={"ttft": "100ms", "itl": "20ms"},
        workload={"output_tokens": 40, "turns": 1},
        load={"sessions": 1000, "concurrency": 8},
    )
    process = subprocess.Popen([*HARNESS, "run", str(path)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    _until(lambda: len(records(tmp_path)) >= 8)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    process.communicate(timeout=20)
    assert process.returncode == 130
    (folder,) = (tmp_path / "results").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    states = [record["status"] for record in records(tmp_path)]
    assert states.count("ok") >= 8
    assert ("cancelled" not in states) == drained
    assert (folder / "report.html").exists()
    assert any(finding["code"] == "interrupted" for finding in summary["validity"]["findings"])


def test_a_killed_run_can_still_be_told(tmp_path: Path) -> None:
    path = config(tmp_path, load={"sessions": 100_000, "concurrency": 8}, workload={"turns": 1})
    process = subprocess.Popen([*HARNESS, "run", str(path), "-q"], cwd=tmp_path)
    _until(lambda: len(records_so_far(tmp_path)) >= 20)
    (folder,) = (tmp_path / "results").iterdir()
    _until(lambda: json.loads((folder / "manifest.json").read_text())["plan_sha256"])
    process.kill()
    process.wait()
    told = harness("report", folder, "--format", "json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    summary = json.loads(told.stdout)
    assert len(summary["run"]["plan_sha256"]) == 64
    assert summary["counts"]["requests"]["ok"] >= 20
    assert summary["metrics"]["ttft"]["p50"] > 0


def records_so_far(tmp_path: Path) -> list[str]:
    """Whole lines: the last one may be under way."""
    return [line for file in tmp_path.glob("results/*/records-*.jsonl") for line in file.read_text().split("\n")[:-1]]


def _until(true: Any, patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except ValueError:
            pass  # a line under way
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")
