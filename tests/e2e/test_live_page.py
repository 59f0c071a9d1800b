"""`harness run --live-url`: the page of a run under way, and what it costs to ask for it in the wrong place."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAST = ("-o", "backend.profile=instant", "-o", "load.ramp=0s", "-o", "load.warmup=0s", "-o", "load.duration=3s")


def test_a_run_serves_its_live_view(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "quickstart", *FAST, "--live-url", "0"]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert run.stderr is not None
    try:
        url = re.fullmatch(r"harness: live page on (http://127\.0\.0\.1:\d+/)", run.stderr.readline().strip())
        assert url is not None
        seen: list[dict[str, Any]] = []
        while run.poll() is None and not (seen and seen[-1]["moment"]):
            with urllib.request.urlopen(url[1] + "state.json", timeout=10) as answer:
                seen.append(json.load(answer))
            time.sleep(0.05)
        now = seen[-1]["moment"]
        assert now["name"] == "quickstart" and now["simulated"]
        assert {limit["metric"] for limit in now["limits"]} == {"ttft", "tpot", "error_rate"}
        with urllib.request.urlopen(url[1], timeout=10) as answer:
            assert answer.read().startswith(b"<!doctype html>")
    finally:
        rest = run.stderr.read()
        assert run.wait(60) in (0, 4, 10, 12), rest  # other tests may starve it of its core


def test_a_busy_port_sends_nothing(run_harness: Callable[..., Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = run_harness("run", "quickstart", "--live-url", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} for --live-url" in done.stderr and "--live-url 0 for a free one" in done.stderr
    assert not (tmp_path / "results").exists()


def test_what_is_no_address_sends_nothing(run_harness: Callable[..., Any], tmp_path: Path) -> None:
    done = run_harness("run", "quickstart", "--live-url", "lab:", cwd=tmp_path)
    assert done.returncode == 2 and "write PORT or HOST:PORT" in done.stderr
    assert not (tmp_path / "results").exists()
