"""Engines that `harness run` starts itself: the whole way from a config to a stopped server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cli

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
BINARY = CACHE / "engines" / "llama-server"
PYTHON = CACHE / "engines" / "llamacpp-venv" / "bin" / "python"
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name in ("configs", "engines"))


def built(path: Path) -> Path:
    if not path.exists():
        reason = f"{path.name} is not built: make engines"
        if os.environ.get("HARNESS_REQUIRE_ENGINES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def overrides(**values: Any) -> list[str]:
    """`-o` options; `__` in a name is a dot."""
    pairs = [f"{name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    return [word for pair in pairs for word in ("-o", pair)]


def llama(model: Path, **more: Any) -> list[str]:
    """What turns configs/llamacpp.yaml into a quick run of the tiny model."""
    values = {
        "backend__binary": str(BINARY),
        "backend__model": "tiny",
        "backend__launch__model": str(model / "model.gguf"),
        "backend__launch__args": ["-t", "1", "--parallel", "4", "--ctx-size", "16384"],
        "workload__think": "0s",
        "workload__output_tokens": 24,
        "load__concurrency": 4,
        "load__warmup": 0,
        "load__workers": 1,
    }
    return overrides(**(values | more))


def folder_of(home: Path) -> Path:
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    return folder


def records_of(home: Path) -> list[dict[str, Any]]:
    files = folder_of(home).glob("records-*.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def commands() -> dict[int, str]:
    """The command lines of all processes that are not dead."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words:
                found[int(entry.name)] = words
    return found


def running(mark: str) -> list[int]:
    return [pid for pid, words in commands().items() if mark in words and "harness run" not in words]


def gone(mark: str) -> bool:
    """Whether the last such process goes, in the time a machine may need for it."""
    deadline = time.monotonic() + 60
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(mark)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_plan_accepts_every_config(config: Path, run_harness: Cli, tmp_path: Path) -> None:
    done = run_harness("plan", config, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sessions"] != 0


@pytest.mark.engine
def test_llama_server_from_start_to_stop(run_harness: Cli, tiny_model: Path, tmp_path: Path) -> None:
    built(BINARY)
    done = run_harness("run", ROOT / "configs/llamacpp.yaml", "--json", "--quiet", *llama(tiny_model), cwd=tmp_path)
    assert done.returncode in (0, 4, 12), done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"] == {"sent": 300, "ok": 300, "failed": 0, "by_error": {}}
    assert summary["target"]["engine"] == "llama-server"
    target = json.loads((folder_of(tmp_path) / "manifest.json").read_text())["target"]
    assert (target["model"], target["facts"]["total_slots"], target["facts"]["slot_context"]) == ("tiny", 4, 4096)
    assert "llamacpp is ready after" in done.stderr
    log = (folder_of(tmp_path) / "engine.log").read_text()
    assert "initializing" in log
    assert gone(str(target["url"].rpartition(":")[2].removesuffix("/v1"))), "the server still runs"
    cached = defaultdict(int)
    for record in records_of(tmp_path):
        timings = record["server"]["timings"]
        assert record["output_tokens"] == timings["predicted_n"] == 24
        assert record["cached_tokens"] == timings["cache_n"]
        cached[record["node"]] += record["cached_tokens"]
    assert cached["turn-1"] < cached["turn-2"] < cached["turn-3"]


@pytest.mark.engine
def test_llamacpp_counts_tokens_of_each_event(run_harness: Cli, tiny_model: Path, tmp_path: Path) -> None:
    built(BINARY)
    more = {"backend__tokens_per_event": "timings", "backend__cache_prompt": False, "load__sessions": 4}
    done = run_harness(
        "run", ROOT / "configs/llamacpp.yaml", "--json", "--quiet", *llama(tiny_model, **more), cwd=tmp_path
    )
    assert done.returncode in (0, 4, 12), done.stderr
    for record in records_of(tmp_path):
        assert sum(record["chunk_tokens"]) == record["output_tokens"] == 24
        assert record["cached_tokens"] == 0


@pytest.mark.engine
def test_prompts_that_do_not_fit_are_told_as_such(run_harness: Cli, tiny_model: Path, tmp_path: Path) -> None:
    built(BINARY)
    more = {"workload__input_tokens": 600, "load__sessions": 4, "load__concurrency": 1}
    small = {"backend__launch__args": ["-t", "1", "--parallel", "1", "--ctx-size", "256"]}
    done = run_harness(
        "run", ROOT / "configs/llamacpp.yaml", "--json", "--quiet", *llama(tiny_model, **more, **small), cwd=tmp_path
    )
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["counts"]["requests"]["by_error"] == {"context_exceeded": 4}
    assert all("256" in record["error_detail"] for record in records_of(tmp_path))


@pytest.mark.engine
def test_llama_cpp_python(run_harness: Cli, tiny_model: Path, tmp_path: Path) -> None:
    """It serves one request at a time, and gives no usage in its streams: tokens are estimated, and said to be."""
    built(PYTHON)
    more = {
        "backend__server": "llama-cpp-python",
        "backend__binary": str(PYTHON),
        "backend__launch__args": ["--n_ctx", "4096", "--n_threads", "1"],
        "workload__turns": 1,
        "load__sessions": 100,
    }
    done = run_harness(
        "run", ROOT / "configs/llamacpp.yaml", "--json", "--quiet", *llama(tiny_model, **more), cwd=tmp_path
    )
    assert done.returncode in (0, 4, 12), done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"] == {"sent": 100, "ok": 100, "failed": 0, "by_error": {}}
    assert summary["target"]["engine"] == "llama-cpp-python"
    assert all(UUID(record["id"]) for record in records_of(tmp_path)), "it takes no other x-request-id"
    assert gone(str(PYTHON) + " -m llama_cpp.server"), "the server still runs"


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["anthropic", "responses"])
def test_other_dialects_of_llama_server(kind: str, run_harness: Cli, tiny_model: Path, tmp_path: Path) -> None:
    command = [str(built(BINARY)), "-m", "{model}", "--port", "{port}", "-t", "1", "--alias", "tiny", "-c", "8192"]
    values = {"backend__launch__command": command, "backend__launch__args": [], "backend__kind": kind}
    config = {
        "name": kind,
        "backend": {"kind": kind, "model": "tiny", "launch": {"model": str(tiny_model / "model.gguf")}},
        "workload": {"kind": "chat", "turns": 3, "input_tokens": 20, "output_tokens": 16, "think": "0s"},
        "load": {"concurrency": 2, "sessions": 10, "workers": 1},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run_harness("run", "config.json", "--json", "--quiet", *overrides(**values), cwd=tmp_path)
    assert done.returncode in (0, 4, 12), done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"]["ok"] == 30
    assert summary["tokens"]["output"] == 30 * 16
    assert summary["tokens"]["cached_input"] > 0


@pytest.mark.engine
def test_an_engine_killed_in_mid_run(tiny_model: Path, tmp_path: Path) -> None:
    """What was measured is kept, the verdict is invalid, and the engine's last words are shown."""
    built(BINARY)
    more = {"load__sessions": 100_000, "load__duration": "10m", "workload__output_tokens": 200}
    command = ["run", str(ROOT / "configs/llamacpp.yaml"), "--json", "--quiet", *llama(tiny_model, **more)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as harness:
        pid = json.loads(wait_for(tmp_path, harness))["target"]["pid"]
        os.kill(pid, signal.SIGKILL)
        out, err = harness.communicate()
    assert harness.returncode == 4, err
    findings = json.loads(out)["validity"]["findings"]
    (died,) = (finding for finding in findings if finding["code"] == "engine_died")
    assert "killed by SIGKILL" in died["message"]
    assert "interrupted" not in {finding["code"] for finding in findings}
    assert "its last words:" in err
    assert any(record["status"] == "ok" for record in records_of(tmp_path))


def wait_for(home: Path, harness: subprocess.Popen[str]) -> str:
    """The manifest, once some requests have been recorded."""
    while harness.poll() is None:
        for folder in (home / "results").glob("*"):
            if any(path.stat().st_size for path in folder.glob("records-*.jsonl")):
                return (folder / "manifest.json").read_text()
        time.sleep(0.05)
    pytest.fail(f"harness ended with {harness.returncode}: {harness.stderr.read() if harness.stderr else ''}")


@pytest.mark.engine
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_no_engine_outlives_us(signum: signal.Signals, tiny_model: Path, tmp_path: Path) -> None:
    built(BINARY)
    more = {"load__sessions": 100_000, "load__duration": "10m"}
    command = ["run", str(ROOT / "configs/llamacpp.yaml"), "--quiet", *llama(tiny_model, **more)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *command],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as harness:
        port = json.loads(wait_for(tmp_path, harness))["target"]["url"].rpartition(":")[2].removesuffix("/v1")
        assert running(f"--port {port}")
        harness.send_signal(signum)
        harness.communicate()
    assert gone(f"--port {port}"), "the server outlived harness"


@pytest.mark.engine
def test_an_engine_that_cannot_start(run_harness: Cli, tmp_path: Path) -> None:
    built(BINARY)
    (tmp_path / "model.gguf").write_text("this is no model")
    done = run_harness("run", ROOT / "configs/llamacpp.yaml", *llama(tmp_path), cwd=tmp_path)
    assert done.returncode == 3
    assert "llamacpp did not start: exit code" in done.stderr
    assert "invalid magic" in done.stderr or "failed to load model" in done.stderr
    assert not list((tmp_path / "results").iterdir()), "nothing was measured, so nothing is left"
