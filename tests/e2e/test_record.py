"""`harness record` as a process: between clients and a server, byte for byte, and an agent's run as a trace."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

_SIM = ["sim", "--ttft", "20ms", "--itl", "1ms", "--port", "0"]


@contextmanager
def served(*args: str) -> Iterator[str]:
    """A serving verb until the block ends; gives its URL."""
    process = subprocess.Popen([sys.executable, "-m", "harness", *args], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("listening on ")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def recorded(target: str, out: Path, *more: str) -> Any:
    return served("record", "--target", target, "--port", "0", "--out", str(out), *more)


def ask(client: httpx.Client, url: str, messages: list[dict[str, Any]], *, stream: bool = True) -> str:
    body: dict[str, Any] = {"model": "tiny", "messages": messages, "max_tokens": 24, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    answer = client.post(f"{url}/chat/completions", json=body, headers={"authorization": "Bearer sk-never-to-be-seen"})
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(answer.json()["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])


def agent(url: str) -> None:
    """A tool loop of three steps, three sub-agents at once that read its answer, and a report that reads theirs."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        talk = [{"role": "system", "content": "You are an agent. " * 60}, {"role": "user", "content": "Begin. " * 60}]
        for step in range(3):
            said = ask(client, url, talk, stream=step != 1)
            talk += [{"role": "assistant", "content": said}, {"role": "user", "content": f"tool result {step} " * 60}]
        plan = said

        def sub(n: int) -> str:
            return ask(
                client, url, [{"role": "user", "content": f"You are searcher {n}. " + "Be brief. " * 100 + plan}]
            )

        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(sub, range(3)))
        ask(client, url, [*talk[:-1], {"role": "user", "content": "Report on: " + "\n".join(found)}])


def shape(nodes: list[dict[str, Any]]) -> list[tuple[set[str], str | None]]:
    return [(set(node.get("after", [])), node.get("history")) for node in nodes]


AGENT_SHAPE = [
    (set(), None), (set(), "r1"), (set(), "r2"),
    ({"r3"}, None), ({"r3"}, None), ({"r3"}, None),
    ({"r4", "r5", "r6"}, "r3"),
]  # fmt: skip


def check_agent(url: str, tmp_path: Path, backend: str) -> None:
    out = tmp_path / "trace.jsonl"
    with recorded(url, out) as proxy:
        agent(proxy)
    text = out.read_text()
    assert "never-to-be-seen" not in text and "searcher" not in text
    (line,) = [json.loads(row) for row in text.splitlines()]
    assert shape(line["nodes"]) == AGENT_SHAPE
    assert [node.get("depth", 0) for node in line["nodes"]] == [0, 0, 0, 1, 1, 1, 0]
    again = tmp_path / "again.jsonl"
    with recorded(url, again) as proxy:
        config = tmp_path / "replay.yaml"
        config.write_text(
            f"name: replay\nbackend: {{kind: {backend}, url: '{proxy}', model: tiny}}\n"
            f"workload: {{kind: replay, path: '{out}', nonce: false}}\nload: {{concurrency: 1, sessions: 1}}\n"
        )
        command = [sys.executable, "-m", "harness", "run", str(config), "--out", str(tmp_path / "results"), "--quiet"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    (path,) = (tmp_path / "results").glob("*/records-*.jsonl")
    rows = {row["node"]: row for row in map(json.loads, path.read_text().splitlines()) if "node" in row}
    assert sorted(rows) == [f"r{n}" for n in range(1, 8)], done.stderr
    names = {row["id"]: name for name, row in rows.items()}
    needs: dict[str, set[str]] = {}  # of each request, all that came before it
    for node in line["nodes"]:
        row = rows[node["name"]]
        direct = set(node.get("after", [])) | ({node["history"]} if "history" in node else set())
        implied = set().union(*(needs[name] for name in direct))
        needs[node["name"]] = direct | implied
        assert {names[id] for id in row["after"]} == direct - implied
        assert row["input_tokens"] == pytest.approx(node["input_tokens"], rel=0.05)


def test_an_agents_run_is_replayed_with_the_same_graph(tmp_path: Path) -> None:
    with served(*_SIM) as url:
        check_agent(url, tmp_path, "openai")


@pytest.mark.engine
def test_an_agents_run_on_llama_server_is_replayed(tmp_path: Path, llama_server: Any) -> None:
    check_agent(llama_server.url, tmp_path, "openai")


class _Origin:
    """A server that reads one request, and sends the parts of its answer when told to."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(20)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def take(self, length: int | None = None) -> tuple[socket.socket, bytes]:
        connection, _ = self.socket.accept()
        connection.settimeout(20)
        data = b""
        while b"\r\n\r\n" not in data or (length and len(data.partition(b"\r\n\r\n")[2]) < length):
            data += connection.recv(1 << 20)
        return connection, data


@pytest.fixture
def origin() -> Iterator[_Origin]:
    made = _Origin()
    yield made
    made.socket.close()


def _request(proxy: str, body: bytes = b"{}", more: bytes = b"") -> tuple[socket.socket, bytes]:
    connection = socket.create_connection(("127.0.0.1", httpx.URL(proxy).port), timeout=20)
    head = b"POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: proxy\r\nX-Odd:  Value \r\n" + more
    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return connection, body


def test_events_pass_as_they_come_and_heads_untouched(tmp_path: Path, origin: _Origin) -> None:
    with recorded(origin.url, tmp_path / "t.jsonl") as proxy:
        client, _ = _request(proxy)
        server, seen = origin.take(2)
        assert seen.startswith(b"POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X-Odd: Value" in seen
        first = b"HTTP/1.1 299 Odd  Words\r\nX-Case: Kept\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
        server.sendall(first)
        got = b""
        while len(got) < len(first):
            got += client.recv(4096)
        assert got == first  # before the last part was sent
        server.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.recv(4096).startswith(b"3\r\ntwo")
        client.close()
        server.close()


_HOP = b"Connection: keep-alive, X-Private\r\nX-Private: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"


def test_what_belongs_to_one_hop_is_not_passed_on(tmp_path: Path, origin: _Origin) -> None:
    with recorded(origin.url, tmp_path / "t.jsonl") as proxy:
        client, _ = _request(proxy, more=_HOP + b"Proxy-Authorization: Basic eA==\r\nAuthorization: Bearer k\r\n")
        server, seen = origin.take(2)
        head = [line.rstrip() for line in seen.partition(b"\r\n\r\n")[0].split(b"\r\n")[2:]]
        assert sorted(head) == [
            b"Authorization: Bearer k",
            b"Connection: keep-alive",
            b"Content-Length: 2",
            b"X-Odd: Value",
        ]
        answer = b"HTTP/1.1 429 Too Many\r\n%bRetry-After: 3\r\nContent-Length: 4\r\n\r\nwait" % _HOP
        server.sendall(answer[:70])  # in the middle of its head
        server.sendall(answer[70:])
        wanted = b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nwait"
        got = b""
        while len(got) < len(wanted):
            got += client.recv(4096)
        assert got == wanted
        client.close()
        server.close()


def test_large_bodies_and_gzip_pass_byte_for_byte(tmp_path: Path, origin: _Origin) -> None:
    asked = json.dumps({"messages": [{"role": "user", "content": "x" * 8_000_000}]}).encode()
    said = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    packed = gzip.compress(json.dumps({**said, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}).encode())
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    seen: list[bytes] = []

    def answering() -> None:
        server, data = origin.take(len(asked))
        seen.append(data.partition(b"\r\n\r\n")[2])
        server.sendall(answer)
        server.close()

    thread = threading.Thread(target=answering)
    thread.start()
    with recorded(origin.url, tmp_path / "t.jsonl") as proxy:
        client, _ = _request(proxy, asked)
        got = b""
        while len(got) < len(answer):
            got += client.recv(1 << 16)
        thread.join()
        client.close()  # it was kept, though the server closed its own: nothing was under way
    assert (got, seen) == (answer, [asked])
    (node,) = json.loads((tmp_path / "t.jsonl").read_text())["nodes"]
    assert (node["input_tokens"], node["output_tokens"]) == (5, 2)


def test_a_client_that_leaves_ends_the_request_upstream(tmp_path: Path, origin: _Origin) -> None:
    with recorded(origin.url, tmp_path / "t.jsonl") as proxy:
        client, _ = _request(proxy)
        server, _ = origin.take(2)
        client.close()
        with suppress(ConnectionResetError):
            assert server.recv(10) == b""
        server.close()


def test_a_target_that_is_away_is_a_502(tmp_path: Path, origin: _Origin) -> None:
    origin.socket.close()
    with recorded(origin.url, tmp_path / "t.jsonl") as proxy:
        answer = httpx.post(f"{proxy}/chat/completions", json={}, trust_env=False)
    assert answer.status_code == 502
    assert "cannot be reached" in answer.json()["error"]["message"]


def test_errors_and_other_paths_pass_as_direct(tmp_path: Path) -> None:
    with served(*_SIM) as url, recorded(url, tmp_path / "t.jsonl") as proxy:
        for path in ("/models", "/nothing"):
            a, b = (httpx.get(base + path, trust_env=False) for base in (url, proxy))
            assert (a.status_code, a.content) == (b.status_code, b.content)
        a, b = (httpx.post(base + "/chat/completions", content=b"{no", trust_env=False) for base in (url, proxy))
        assert (a.status_code, a.content) == (b.status_code, b.content)
    assert (tmp_path / "t.jsonl").read_text() == ""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("both", [False, True])
def test_a_recording_that_is_killed_is_not_lost(tmp_path: Path, run_harness: Any, both: bool) -> None:
    out = tmp_path / "t.jsonl"
    journal = tmp_path / "t.jsonl.journal"
    with served(*_SIM) as url:
        command = [sys.executable, "-m", "harness", "record", "--target", url, "--port", "0", "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        proxy = process.stdout.readline().strip().removeprefix("listening on ")
        with httpx.Client(timeout=60, trust_env=False) as client:
            talk = [{"role": "user", "content": "Begin."}]
            said = ask(client, proxy, talk)
            ask(client, proxy, [*talk, {"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}])
        while journal.read_bytes().count(b"\n") < 2:
            pass
        written = "".join(path.read_text() for path in tmp_path.iterdir())
        assert not [secret for secret in ("Begin", "Go on", "never-to-be-seen") if secret in written]
        for pid in [*(_children(process.pid) if both else []), process.pid]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    if both:
        again = run_harness("record", "--target", "http://127.0.0.1:1/v1", "--out", "t.jsonl", cwd=tmp_path)
        assert again.returncode == 2 and "--finish" in again.stderr
        with journal.open("ab") as file:
            file.write(b'{"session":"s0000')  # it was killed in the middle of a line
        done = run_harness("record", "--finish", "--out", "t.jsonl", cwd=tmp_path)
        assert done.returncode == 0 and "1 sessions with 2 requests" in done.stderr
        assert run_harness("record", "--finish", "--out", "t.jsonl", cwd=tmp_path).returncode == 2
    while journal.exists():
        pass  # left alone, the process that writes finishes the trace
    (line,) = map(json.loads, out.read_text().splitlines())
    assert [node.get("history") for node in line["nodes"]] == [None, "r1"]
