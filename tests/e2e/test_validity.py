"""A run that cannot be trusted says so: each finding provoked for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from harness.clock import now_ns
from harness.records.record import Record
from harness.records.writer import RecordWriter

CONFIG = """\
name: validity
backend: {{kind: sim, {backend}}}
workload: {{kind: chat, turns: 1, output_tokens: {tokens}, input_tokens: 8, system_tokens: 0}}
load: {{{load}}}
{more}
"""


def start(tmp_path: Path, *, backend: str, load: str, tokens: int = 16, more: str = "") -> subprocess.Popen[str]:
    (tmp_path / "c.yaml").write_text(CONFIG.format(backend=backend, load=load, tokens=tokens, more=more))
    command = [sys.executable, "-m", "harness", "run", "c.yaml", "--json", "-q"]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def findings(process: subprocess.Popen[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the findings by their code."""
    out, err = process.communicate(timeout=60)
    assert out, err
    told = json.loads(out)["validity"]["findings"]
    return process.returncode, {finding["code"]: finding for finding in told}


def workers(parent: int) -> list[int]:
    """Worker processes below this run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == parent and b"harness.load.worker" in command:
                found.append(int(entry.name))
    return found


def test_a_stalled_loop(tmp_path: Path) -> None:
    run = start(
        tmp_path,
        backend="ttft: 20ms, itl: 5ms",
        load="rate: 20/s, arrivals: constant, duration: 4s, kernel_stamps: false",
        tokens=200,
    )
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("results/*/records-0.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    (worker,) = workers(run.pid)
    for _ in range(4):
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.2)
    code, found = findings(run)
    assert code == 4
    assert found["send_lag"]["severity"] == "error"
    assert found["send_lag"]["value"] > 0.05
    assert found["loop_lag"]["severity"] == "error"
    assert found["loop_lag"]["remedy"]
    assert found["coalesced"]["value"] > 0.1  # what piled up came in few reads


def test_a_dead_worker(tmp_path: Path) -> None:
    run = start(tmp_path, backend="ttft: 20ms, itl: 5ms", load="rate: 50/s, duration: 20s")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        files = list(tmp_path.glob("results/*/records-0.jsonl"))
        if files and files[0].stat().st_size:
            break
        time.sleep(0.05)
    os.kill(workers(run.pid)[0], signal.SIGKILL)
    code, found = findings(run)
    assert code == 4
    assert "signal 9" in found["worker_died"]["message"]


def test_a_starved_cpu(tmp_path: Path) -> None:
    run = start(tmp_path, backend="profile: instant", load="concurrency: 256, sessions: 3000, workers: 1", tokens=128)
    _, found = findings(run)
    assert found["worker_cpu"]["value"] > 0.4


def test_waiting_for_our_own_cap(tmp_path: Path) -> None:
    run = start(
        tmp_path, backend="ttft: 20ms, itl: 1ms", load="concurrency: 8, sessions: 40", more="limits: {max_in_flight: 2}"
    )
    _, found = findings(run)
    (folder,) = tmp_path.glob("results/*")
    rows = [json.loads(line) for file in folder.glob("records-*.jsonl") for line in file.open()]
    assert max(row["sent_ns"] - row["intended_ns"] for row in rows) > 20_000_000
    edges = sorted(edge for row in rows for edge in ((row["sent_ns"], 1), (row["end_ns"], -1)))
    assert max(accumulate(step for _, step in edges)) == 2
    told = json.loads((folder / "manifest.json").read_text())["workers"]
    assert sum(worker["health"]["limit_waits"] for worker in told) >= 6  # of the first eight at the least
    assert not {"send_lag", "achieved_rate"} & found.keys()  # it was asked for


def test_a_slow_disk(tmp_path: Path) -> None:
    pipe = tmp_path / "records-0.jsonl"
    os.mkfifo(pipe)
    opened = threading.Event()

    def read_slowly() -> None:
        with pipe.open("rb") as stream:
            opened.set()
            time.sleep(0.2)
            while stream.read(65536):
                pass

    reader = threading.Thread(target=read_slowly)
    reader.start()
    writer = RecordWriter(pipe)
    opened.wait(5)
    for index in range(2000):
        writer.add(Record(id=f"r{index}", session="s0", node="n"))
    writer.flush(now_ns())
    writer.close()
    reader.join(5)
    assert writer.longest_write_s > 0.1
