"""The process: starting, stopping, and the command line."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli.sim import sim
from harness.errors import UsageError
from harness.sim import server
from harness.sim.__main__ import main
from harness.sim.options import SimOptions


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def launch(**options: Any) -> tuple[subprocess.Popen[str], str]:
    """A simulator in a process of its own, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.sim", json.dumps({"port": 0, **options})],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:") and line.endswith("/v1\n")
    return process, line.split()[-1]


def ask(url: str, **fields: Any) -> Any:
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    with urllib.request.urlopen(f"{url}/chat/completions", body, timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_and_the_truth_is_whole(tmp_path: Path, number: signal.Signals) -> None:
    truth = tmp_path / "truth.jsonl"
    process, url = launch(profile="instant", truth=str(truth))
    assert ask(url, max_tokens=4)["usage"]["completion_tokens"] == 4
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.communicate() == ("", "")
    assert [json.loads(line)["finish"] for line in truth.read_text().splitlines()] == ["length"]


def test_it_does_not_outlive_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process, url = launch(profile="instant", parent_pid=parent.pid)
    assert ask(url, max_tokens=1)
    parent.kill()  # and not waited for: a zombie counts as gone
    assert process.wait(10) == 0
    parent.communicate()


def test_serve_in_this_process(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found: list[Any] = []

    def play() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                found.append(ask(f"http://127.0.0.1:{port}/v1", max_tokens=2))
                break
            except OSError:
                time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    thread = threading.Thread(target=play)
    thread.start()
    options = SimOptions(ttft=0.001, itl=0.001, port=port, truth=tmp_path / "t.jsonl", parent_pid=os.getpid())
    server.serve(options)
    thread.join()
    assert found[0]["usage"]["completion_tokens"] == 2
    assert capsys.readouterr().out == f"listening on http://127.0.0.1:{port}/v1\n"
    assert (tmp_path / "t.jsonl").read_text().count("\n") == 1


def test_a_port_in_use_is_a_usage_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            server.serve(SimOptions(profile="instant", port=port))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SimOptions(ttft=0.1), "both ttft and itl"),
        (SimOptions(itl=0.1), "both ttft and itl"),
        (SimOptions(ttft=0.1, itl=0.1, profile="instant"), "exclude each other"),
        (SimOptions(ttft=0.1, itl=0.1, strict_model=True), "no model"),
        (SimOptions(time_scale=0.0), "time-scale is 0"),
        (SimOptions(tokens_per_event=0), "tokens-per-event is 0"),
        (SimOptions(port=70_000), "port is 70000"),
    ],
)
def test_contradictions_are_refused_before_anything_listens(options: SimOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        server.serve(options)


def test_processes_that_are_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not server._alive(child.pid)
    assert server._alive(os.getpid()) and server._alive(1)


def test_the_short_way_tells_errors_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["{"]) == 2
    assert main(['{"profile": "h100-vlm-8b"}']) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "Did you mean h100-vllm-8b?" in lines[2]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SimOptions]:
    """What the command line would serve."""
    seen: list[SimOptions] = []
    monkeypatch.setattr(server, "serve", seen.append)
    return seen


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(sim)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_line_is_read(asked: list[SimOptions]) -> None:
    line = "--ttft 30ms --itl 2ms --port 0 --truth t.jsonl --seed 3 --time-scale 0.5 --tokens-per-event 2 --role-first"
    faults = "--truncate 1% --stall @3,7 --stall-for 2s --status 503 --rate-limit 10/s --slow-accept 5ms"
    result = run(*line.split(), *faults.split())
    assert result.exit_code == 0, result.output
    (options,) = asked
    assert (options.ttft, options.itl, options.truth) == (0.03, 0.002, Path("t.jsonl"))
    assert (options.seed, options.time_scale, options.tokens_per_event, options.role_first) == (3, 0.5, 2, True)
    found = options.faults
    assert (found.truncate, found.stall, found.stall_for, found.status) == (0.01, [3, 7], 2.0, 503)
    assert (found.rate_limit, found.slow_accept) == (10.0, 0.005)


def test_wrong_values_name_the_option(asked: list[SimOptions]) -> None:
    result = run("--ttft", "soon", "--itl", "2ms")
    assert isinstance(result.exception, UsageError)
    assert result.exception.message.startswith("--ttft: 'soon' is not a duration")
    assert asked == []
