"""`harness run --live-url`: the page of a run under way, and what it costs to ask for it in the wrong place."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.live.page import LivePage
from harness.live.progress import Goal
from harness.live.serving import Serving
from harness.live.view import LiveView
from harness.records.snapshot import LogHistogram, Snapshot
from harness.units import NS_PER_S
from tests.browser import Browser, Seen, find

EVIL = "</script><script>window.hit=1</script><img src=x onerror='window.hit=2'>"
ROWS = "[...document.querySelectorAll('#rows tr')].map((row) => row.innerText.split(/\\s*\\t\\s*/))"
FAST = (
    "-o",
    "backend.profile=instant",
    "-o",
    "load.ramp=0s",
    "-o",
    "load.warmup=0s",
    "-o",
    "load.duration=2s",
    "-o",
    "workload.turns=1",
)


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


def until(seen: Seen, expression: str) -> None:
    while not seen.ask(expression):
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("WITHOUT a browser: make browser gets one, or name it in HARNESS_BROWSER")
    with Browser(program) as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_in_a_browser(browser: Browser, monkeypatch: pytest.MonkeyPatch, width: int, dark: bool) -> None:
    monkeypatch.setattr(LivePage, "interval_s", 0.1)
    ttft = LogHistogram()
    for _ in range(60):
        ttft.add(0.2)
    goal = Goal(name=EVIL, target=EVIL, duration_s=60.0, limits={"ttft.p95": 0.1}, later=(EVIL,), simulated=True)
    with Serving(page=("127.0.0.1", 0)) as serving:
        url = serving.told[0].split()[-1]
        with LiveView(goal, quiet=True, page=serving.page) as view:
            seen = browser.open(url, width=width, dark=dark)
            until(seen, "document.getElementById('state').textContent.startsWith('starting')")
            for second in (10, 12):
                one = Snapshot(worker=0, t_ns=second * NS_PER_S, phase="measure", output_tokens=90 * second, ttft=ttft)
                view.update([msgspec.structs.replace(one, errors={EVIL: 2}, requests_failed=2)], one.t_ns)
                until(seen, f"document.getElementById('clock').textContent === '00:{second} / 01:00'")
            assert seen.ask(ROWS)[0] == ["ttft", "–", "205 ms", "205 ms", "p95 < 100 ms ✗ over"]
            assert seen.ask("document.getElementById('bar').value") == pytest.approx(0.2)
            assert seen.ask("document.querySelector('#spark .line').getAttribute('d').split('L').length") >= 2
            assert seen.ask("document.title").startswith("20 % · </script>")
            assert seen.ask("document.documentElement.scrollWidth") <= width
            assert seen.ask("window.hit ?? null") is None and seen.ask("document.images.length") == 0
            paper = seen.ask("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(18, 23, 29)" if dark else "rgb(255, 255, 255)")
        until(seen, "document.getElementById('state').textContent.startsWith('ended')")
        assert seen.errors == []
        assert all(request.startswith(url) for request in seen.requests)
    until(seen, "document.body.classList.contains('stale')")
    assert seen.ask("document.getElementById('state').textContent").startswith("no answer since")


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
