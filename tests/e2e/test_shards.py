"""Shards of one load in processes of their own, merged: what one process would have sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.load import load
from harness.plan import make_plan

CLIENT = {"loop_lag", "send_lag", "worker_cpu", "steal", "gc_pause", "coalesced", "achieved_rate"}
HARNESS = [sys.executable, "-m", "harness"]


class Server(ThreadingHTTPServer):
    """Answers at once with three tokens, and keeps what it was asked, by request id."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked[self.headers["x-request-id"]] = body
        usage = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
        if json.loads(body).get("stream"):
            events = [{"choices": [{"index": 0, "delta": {"content": f" word{n}"}}]} for n in range(3)]
            events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
            events.append({"choices": [], "usage": usage})
            answer = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
            self._answer(answer + b"data: [DONE]\n\n", "text/event-stream")
        else:
            message = {"role": "assistant", "content": "word"}
            choice = {"index": 0, "message": message, "finish_reason": "length"}
            self._answer(json.dumps({"choices": [choice], "usage": usage}).encode(), "application/json")

    def do_GET(self) -> None:
        self.send_error(404)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


def config(folder: Path, url: str, *, nonce: bool = True, **load: Any) -> Path:
    path = folder / "config.yaml"
    told = {
        "name": "parts",
        "seed": 11,
        "backend": {"url": url, "model": "tiny"},
        "workload": {
            "kind": "chat",
            "turns": 2,
            "think": "5ms",
            "output_tokens": 3,
            "input_tokens": 12,
            "system_tokens": 12,
            "nonce": nonce,
        },
        "load": load,
        "telemetry": {"prometheus": False},
        "slo": ["requests_per_s > 100000"],  # fails, but is not for a shard to judge
    }
    path.write_text(yaml.safe_dump(told))
    return path


def start(folder: Path, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HARNESS, *map(str, words)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
    )


def shards(path: Path, which: Iterable[int], count: int, out: str, ahead_s: float) -> list[subprocess.Popen[str]]:
    """These of `count` shards, at once."""
    at = datetime.fromtimestamp(time.time() + ahead_s, UTC).isoformat()
    return [
        start(path.parent, "run", path, "--shard", f"{index}/{count}", "--start-at", at, "--out", out, "-q")
        for index in which
    ]


def alone(path: Path, *words: str) -> tuple[Path, float]:
    """The folder of the same load by one process, and how long all of it took: a machine may be busy with other
    tests, and shards need time to be ready."""
    begin = time.monotonic()
    told, err = start(path.parent, "run", path, "-q", "--json", *words).communicate(timeout=200)
    assert told, err
    [run] = (path.parent / "results").iterdir()
    return run, time.monotonic() - begin


def attempts(took_s: float) -> Iterator[tuple[int, float]]:
    """(number, how far ahead to start)."""
    yield from enumerate((1.3 * took_s, 4 * took_s, 12 * took_s))


def play(path: Path, count: int, took_s: float) -> list[Path]:
    """The folders of shards that were all ready in time."""
    for attempt, ahead_s in attempts(took_s):
        running = shards(path, range(count), count, f"parts-{attempt}", ahead_s)
        told = [process.communicate(timeout=ahead_s + 200)[1] for process in running]
        assert not any("Traceback" in words for words in told), told
        if not any("nothing was sent" in words for words in told):
            assert all(process.returncode in (0, 4) for process in running), told  # 4: a busy machine
            return sorted((path.parent / f"parts-{attempt}").iterdir())
    raise AssertionError("never ready in time")


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """By id without the run's own beginning."""
    found = {}
    for file in sorted(folder.glob("records-*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            name = record["id"].partition("-")[2]
            assert name not in found
            found[name] = record
    return found


def merge(folder: Path, *runs: Path) -> tuple[int, Path, dict[str, Any]]:
    done = start(folder, "merge", *runs, "--out", "merged", "--json")
    out, err = done.communicate(timeout=200)
    assert out, err
    [merged] = (folder / "merged").iterdir()
    return done.returncode, merged, json.loads(out)


@pytest.mark.parametrize(
    ("count", "nonce", "kind"),
    [(3, False, {"rate": "40/s"}), (2, True, {"concurrency": 5, "workers": 2})],
    ids=["open", "closed"],
)
def test_shards_are_what_one_process_sends(
    tmp_path: Path, server: Server, count: int, nonce: bool, kind: dict[str, Any]
) -> None:
    path = config(tmp_path, server.url, nonce=nonce, sessions=40, warmup=4, **kind)
    run, took_s = alone(path)
    by_one = {name: server.asked[record["id"]] for name, record in records(run).items()}
    code, merged, summary = merge(tmp_path, *play(path, count, took_s))
    errors = {one["code"] for one in summary["validity"]["findings"] if one["severity"] == "error"}
    assert errors <= CLIENT
    assert code == (4 if errors else 10)  # the whole is judged
    assert summary["counts"]["sessions"] == {"planned": 40, "finished": 40, "failed": 0}

    plan = make_plan(load(path).experiment)
    assert summary["run"]["plan_sha256"] == plan.sha256
    found = records(merged)
    assert set(found) == {f"{plan.session(n).id}-{node.name}" for n in range(44) for node in plan.session(n).nodes}
    assert len({record["id"].partition("-")[0] for record in found.values()}) == 1  # the shards agreed on one name
    for record in found.values():
        assert int(record["session"].lstrip("s")) % count == record["worker"] % count
    if plan.arrivals_ns is not None:
        first = {record["session"]: record["intended_ns"] for record in found.values() if not record["after"]}
        assert first == {plan.session(n).id: int(at) for n, at in enumerate(plan.arrivals_ns)}

    in_parts = {name: server.asked[record["id"]] for name, record in found.items()}
    if nonce:  # its words are of the run: all others are the same
        by_one, in_parts = ({name: _shape(body) for name, body in asked.items()} for asked in (by_one, in_parts))
    assert in_parts == by_one


def _shape(body: bytes) -> Any:
    """A request but for the words of the nonce: roles and lengths of all messages, and the end of the last."""
    asked = json.loads(body)
    messages = asked["messages"]
    return (
        [(message["role"], len(message["content"].split())) for message in messages],
        messages[-1]["content"].split()[5:],
        asked["max_tokens"],
    )


def test_a_shard_that_is_missing_and_one_that_was_killed(tmp_path: Path, server: Server) -> None:
    path = config(tmp_path, server.url, rate="20/s", duration="4s")
    for attempt, ahead_s in attempts(alone(path, "-o", "load.duration=500ms")[1]):
        out = tmp_path / f"parts-{attempt}"
        running = shards(path, (1, 2), 3, out.name, ahead_s)
        playing = False
        while not playing and all(process.poll() is None for process in running):
            playing = all(_lines(out, number) > 3 for number in (1, 2))
            time.sleep(0.05)
        running[0].kill()
        for process in running:
            process.communicate(timeout=ahead_s + 100)
        if playing and running[0].returncode == -9:
            break
    parts = {_shard(run): run for run in out.iterdir()}
    code, merged, summary = merge(tmp_path, parts[1], parts[2])
    told = {one["code"]: one["message"] for one in summary["validity"]["findings"] if one["severity"] == "error"}
    assert code == 4 and set(told) - CLIENT == {"shards_missing", "shards_cut"}
    assert "(0/3)" in told["shards_missing"] and "1/3" in told["shards_cut"]
    kept = records(merged)
    assert {record["worker"] for record in kept.values()} == {1, 2}  # what the killed one had finished counts


def _lines(parts: Path, worker: int) -> int:
    return sum(len(file.read_text().splitlines()) for file in parts.glob(f"*/records-{worker}.jsonl"))


def _shard(run: Path) -> int:
    return int(json.loads((run / "manifest.json").read_text())["shard"]["index"])


def test_a_start_that_has_passed(tmp_path: Path) -> None:
    path = config(tmp_path, "http://127.0.0.1:1/v1", rate="5/s", sessions=40)
    done = start(tmp_path, "run", path, "--start-at", "2020-01-31T12:00:00Z")
    _, err = done.communicate(timeout=100)
    assert done.returncode == 2 and "Traceback" not in err
    assert "the start, 2020-01-31T12:00:00Z, was" in err and "nothing was sent" in err
    assert not (tmp_path / "results").exists()
