"""An agent on the real OpenAI SDK is recorded, and its replay makes the same graph and prompts of the same lengths."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Engine

LOOP = Path(__file__).with_name("agent_loop.py")


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """A serving verb until the block ends; gives its URL."""
    process = subprocess.Popen([sys.executable, "-m", "harness", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("listening on ")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def record(url: str, out: Path, *words: str) -> list[dict[str, Any]]:
    """Let the agent run against the recorder before `url`: the calls of its one session."""
    pytest.importorskip("openai")
    with serving("record", "--target", url, "--port", "0", "--out", str(out)) as proxy:
        done = subprocess.run([sys.executable, str(LOOP), proxy, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sk-never-to-be-seen" not in out.read_text()
    (line,) = [json.loads(row) for row in out.read_text().splitlines()]
    nodes: list[dict[str, Any]] = line["nodes"]
    return nodes


def check_graph(nodes: list[dict[str, Any]]) -> None:
    """Three calls of the agent; three searchers of two calls each, which read the third; a report that reads theirs."""
    needs = {node["name"]: (set(node.get("after", [])), node.get("history")) for node in nodes}
    assert list(needs) == [f"r{number}" for number in range(1, 11)]
    assert (needs["r1"], needs["r2"], needs["r3"]) == ((set(), None), (set(), "r1"), (set(), "r2"))
    first = {name for name, need in needs.items() if need == ({"r3"}, None)}
    second = {name for name, (after, history) in needs.items() if history in first and not after}
    assert len(first) == len(second) == 3 and {needs[name][1] for name in second} == first
    assert needs["r10"] == (second, "r3")
    assert {node["name"] for node in nodes if node.get("depth") == 1} == first | second
    assert all(node["gap_ms"] >= 50 for node in nodes[1:3])


def check_replay(nodes: list[dict[str, Any]], url: str, trace: Path) -> None:
    """Play the trace at `url`: each request waits for the same ones, and has a prompt as long as then."""
    folder = trace.parent
    (folder / "replay.yaml").write_text(
        f"backend: {{kind: openai, url: '{url}', model: tiny}}\n"
        f"workload: {{kind: replay, path: '{trace}'}}\nload: {{concurrency: 1, sessions: 1}}\n"
    )
    command = [sys.executable, "-m", "harness", "run", "replay.yaml", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    (path,) = (folder / "results").glob("*/records-0.jsonl")
    rows = {row["node"]: row for row in map(json.loads, path.read_text().splitlines()) if "node" in row}
    assert sorted(rows) == sorted(node["name"] for node in nodes), done.stderr
    names = {row["id"]: name for name, row in rows.items()}
    needs: dict[str, set[str]] = {}
    for node in nodes:
        row = rows[node["name"]]
        direct = set(node.get("after", [])) | ({node["history"]} if "history" in node else set())
        implied = set().union(*(needs[name] for name in direct))
        needs[node["name"]] = direct | implied
        assert {names[id] for id in row["after"]} == direct - implied
        assert row["status"] == "ok"
        assert row["input_tokens"] == pytest.approx(node["input_tokens"], rel=0.05), node["name"]


def test_an_agent_that_calls_tools(tmp_path: Path) -> None:
    instant = LOOP.parents[2] / "configs" / "profiles" / "instant.yaml"
    (tmp_path / "caller.yaml").write_text(f"{instant.read_text()}\nanswer: {{tool_calls: true}}\n")
    with serving("sim", "--profile", str(tmp_path / "caller.yaml"), "--port", "0") as url:
        nodes = record(url, tmp_path / "t.jsonl")
        check_graph(nodes)
        check_replay(nodes, url, tmp_path / "t.jsonl")


@pytest.mark.engine
def test_an_agent_with_tools_on_llama_server(tmp_path: Path, llama_server_with_tools: Engine) -> None:
    nodes = record(llama_server_with_tools.url, tmp_path / "t.jsonl", "--no-calls")
    check_graph(nodes)
    check_replay(nodes, llama_server_with_tools.url, tmp_path / "t.jsonl")
