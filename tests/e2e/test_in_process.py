"""An engine inside the worker, from config to report: a fake of llama-cpp-python; tests/engines has the real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cli

FAKES = Path(__file__).resolve().parents[1] / "fakes"


def config(place: Path, model: str = "tiny.gguf", **load: Any) -> Path:
    (place / model).touch()
    path = place / "config.json"
    asked = {
        "name": "edge",
        "backend": {"kind": "llamacpp-inproc", "model": model, "engine": {"n_ctx": 1 << 20}},
        "workload": {
            "kind": "chat",
            "turns": 3,
            "system_tokens": 20,
            "input_tokens": 10,
            "output_tokens": 8,
            "think": 0,
        },
        "load": {"concurrency": 2, "sessions": 6, **load},
    }
    path.write_text(json.dumps(asked))
    return path


@pytest.fixture(autouse=True)
def fake_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))


def folder_of(home: Path) -> Path:
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    return folder


def test_from_config_to_report(run_harness: Cli, tmp_path: Path) -> None:
    done = run_harness("run", config(tmp_path), "--json", "--quiet", cwd=tmp_path)
    assert done.returncode in (0, 4, 12), done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"] == {"sent": 18, "ok": 18, "failed": 0, "by_error": {}}
    assert summary["tokens"]["output"] == 18 * 8 and summary["tokens"]["source"] == "server"
    assert summary["tokens"]["cached_input"] > 0
    assert (summary["target"]["url"], summary["target"]["engine"]) == ("in-process", "llama-cpp-python")
    findings = {finding["code"]: finding for finding in summary["validity"]["findings"]}
    assert "no network" in findings["in_process"]["message"]
    folder = folder_of(tmp_path)
    records = [json.loads(line) for line in (folder / "records-0.jsonl").read_text().splitlines()]
    assert all(record["clock"] == "user" and record["connect_ns"] is None for record in records)
    assert all(sum(record["chunk_tokens"]) == record["output_tokens"] == 8 for record in records)
    assert all(record["server"]["timings"]["predicted_n"] == 8 for record in records)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["text_calibration"]["source"] == "server" and manifest["clock"]["kernel_stamps"] is False
    assert manifest["target"]["pid"] > 0 and len(manifest["workers"]) == 1
    log = (folder / "engine.log").read_text()
    assert "fake: loading tiny.gguf" in log and "fake: closed" in log
    assert "fake:" not in done.stderr


def test_what_cannot_be(run_harness: Cli, tmp_path: Path) -> None:
    for overrides, words in (
        (["load.workers=2"], "one worker"),
        (["backend.url=http://127.0.0.1:1/v1"], "has no server"),
        (["backend.model=nowhere.gguf"], "no file nowhere.gguf"),
    ):
        options = [word for override in overrides for word in ("-o", override)]
        done = run_harness("run", config(tmp_path), *options, cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert words in done.stderr
    assert not list((tmp_path / "results").iterdir()), "nothing was measured, so nothing is left"


def test_a_model_that_cannot_be_loaded(run_harness: Cli, tmp_path: Path) -> None:
    done = run_harness("run", config(tmp_path, "broken.gguf"), cwd=tmp_path)
    assert done.returncode == 3
    assert "llama.cpp cannot load broken.gguf: Failed to load model from file" in done.stderr
    assert "fake: loading broken.gguf" in done.stderr, "its last words"


def test_probe(run_harness: Cli, tmp_path: Path) -> None:
    done = run_harness("probe", config(tmp_path), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["url"], found["engine"], found["pages"]) == ("in-process", "llama-cpp-python", {})
    assert found["abilities"]["usage"] and found["abilities"]["cached_tokens"]
    assert found["tokens_per_word"] > 1  # a token is a byte


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", str(config(tmp_path, sessions=1_000_000)), "--json", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as harness:
        while not any(path.stat().st_size for path in (tmp_path / "results").glob("*/records-0.jsonl")):
            assert harness.poll() is None, harness.communicate()[1]
            time.sleep(0.05)
        harness.send_signal(signal.SIGINT)
        out, err = harness.communicate()
    assert harness.returncode == 130, err
    assert json.loads(out)["counts"]["requests"]["ok"] > 0


def test_a_worker_killed_with_its_engine(tmp_path: Path) -> None:
    """What was measured is kept, the verdict is invalid, and the engine's last words are shown."""
    command = [sys.executable, "-m", "harness", "run", str(config(tmp_path, sessions=1_000_000)), "--json", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as harness:
        while not any(path.stat().st_size for path in (tmp_path / "results").glob("*/records-0.jsonl")):
            assert harness.poll() is None, harness.communicate()[1]
            time.sleep(0.05)
        (path,) = (tmp_path / "results").glob("*/manifest.json")
        os.kill(json.loads(path.read_text())["target"]["pid"], signal.SIGKILL)
        out, err = harness.communicate()
    assert harness.returncode == 4, err
    findings = {finding["code"]: finding for finding in json.loads(out)["validity"]["findings"]}
    assert "llama-cpp-python ended with its worker (killed by signal 9)" in findings["engine_died"]["message"]
    assert "fake: loading tiny.gguf" in err, "its last words"
    assert json.loads(out)["counts"]["requests"]["ok"] > 0


def test_no_worker_outlives_us(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", str(config(tmp_path, sessions=1_000_000)), "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as harness:
        manifests: list[Path] = []
        while not any(path.stat().st_size for path in (tmp_path / "results").glob("*/records-0.jsonl")):
            assert harness.poll() is None
            time.sleep(0.05)
        (path,) = (tmp_path / "results").glob("*/manifest.json")
        manifests.append(path)
        harness.kill()
    pid = json.loads(manifests[0].read_text())["target"]["pid"]
    deadline = time.monotonic() + 60
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes()) and os.getpgid(pid) == pid
    except (OSError, ProcessLookupError):
        return False
