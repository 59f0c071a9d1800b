"""vLLM for real, on the CPU: started by `harness run configs/vllm.yaml`, and each count held against its own.

Needs tests/engines/install_vllm.py. Where vLLM is not installed these tests are skipped, and say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import pytest

from tests.engines import agents
from tests.engines.cores import Means, as_client, hold, wrapped

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
VENV = CACHE / "engines" / "vllm-venv"
SESSIONS, TURNS = 100, 3

pytestmark = [pytest.mark.engine, pytest.mark.vllm]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if not (VENV / "ready").is_file():
        reason = "vLLM is not installed: make test-vllm, or python tests/engines/install_vllm.py"
        if os.environ.get("HARNESS_REQUIRE_VLLM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


class Finished(NamedTuple):
    """One run: its exit code, what it printed, its records, and its telemetry."""

    exit_code: int
    summary: dict[str, Any]
    manifest: dict[str, Any]
    records: list[dict[str, Any]]
    samples: list[dict[str, Any]]


def run(home: Path, config: str, *overrides: str) -> Finished:
    """`harness run` in a process of its own, which goes before the engine."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_CACHE": str(home), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "harness", "run", str(ROOT / "configs" / config), "--json", "--quiet"]
    command = as_client(words)
    for override in overrides:
        command += ["-o", override]
    environment = os.environ | offline | {"VLLM_CPU_KVCACHE_SPACE": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4, 12), done.stderr
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    lines = [line for path in folder.glob("records-*.jsonl") for line in path.read_text().splitlines()]
    telemetry = (folder / "telemetry.jsonl").read_text().splitlines()
    return Finished(
        done.returncode,
        json.loads(done.stdout),
        json.loads((folder / "manifest.json").read_text()),
        [json.loads(line) for line in lines],
        [line for line in map(json.loads, telemetry) if line.get("source") == "prometheus" and line.get("values")],
    )


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vllm`, kept behind the client. Its processes spin while they wait for each other: a client that is their equal
    is often not woken before an answer is whole, and then every event has the time of the last."""
    return wrapped(VENV / "bin" / "vllm", tmp_path_factory.mktemp("bin"))


def small(binary: Path, model: Path, *arguments: str) -> list[str]:
    """The overrides that turn configs/vllm.yaml into a run of the tiny model."""
    options = ["--dtype", "float32", "--max-model-len", "4096", "--enforce-eager", "--num-gpu-blocks-override", "256"]
    return [
        f"backend.binary={binary}",
        "backend.model=tiny",
        f"backend.launch.model={model / 'hf'}",
        f"backend.launch.args={json.dumps([*options, *arguments])}",
        "workload.think=0s",
        "workload.exact_output=true",
        "workload.output_tokens=40",
        "load.concurrency=4",
        "load.warmup=0",
        "load.workers=1",
        f"load.sessions={SESSIONS}",
    ]


def descendants() -> set[str]:
    """Command lines of what runs from vLLM's venv."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(VENV) in command or command.startswith("VLLM::"):
                found.add(command)
    return found


@pytest.fixture(scope="module")
def detailed(vllm: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """100 sessions of 3 turns, 4 at a time, on a server that tells cached tokens and answers with token ids."""
    home = tmp_path_factory.mktemp("vllm")
    before = descendants()
    more = ["backend.tokens_per_event=token_ids", "backend.cache_salt=true"]
    told = ["--enable-prompt-tokens-details", "--enable-per-request-metrics"]
    yield run(home, "vllm.yaml", *small(vllm, tiny_model, *told), *more)
    assert descendants() <= before, "a process of vLLM is left"


def test_nothing_failed(detailed: Finished) -> None:
    counts = detailed.summary["counts"]
    assert counts["sessions"] == {"planned": SESSIONS, "finished": SESSIONS, "failed": 0}
    assert counts["requests"]["ok"] == SESSIONS * TURNS
    assert counts["requests"]["failed"] == 0


def test_the_engine_is_known(detailed: Finished) -> None:
    target = detailed.manifest["target"]
    assert (target["engine"], target["model"]) == ("vllm", "tiny")
    assert target["engine_version"].startswith("0.")
    assert target["facts"]["max_model_len"] == 4096
    assert target["facts"]["block_size"]
    assert target["pid"] > 0


def test_output_tokens_are_those_the_server_counted(detailed: Finished) -> None:
    asked = SESSIONS * TURNS * 40
    assert detailed.summary["tokens"]["output"] == asked
    assert detailed.summary["tokens"]["source"] == "server"
    first, last = detailed.samples[0], detailed.samples[-1]
    assert last["values"]["generation_tokens"] - first["values"]["generation_tokens"] == asked
    assert last["values"]["prompt_tokens"] - first["values"]["prompt_tokens"] == detailed.summary["tokens"]["input"]


def test_events_tell_their_tokens(detailed: Finished) -> None:
    for record in detailed.records:
        assert sum(record["chunk_tokens"]) == record["output_tokens"] == 40


def test_cached_tokens_grow_with_the_turns(detailed: Finished) -> None:
    cached = [
        median(record["cached_tokens"] for record in detailed.records if record["node"] == f"turn-{turn + 1}")
        for turn in range(TURNS)
    ]
    assert cached[0] < cached[1] < cached[2]


def test_time_to_first_token_is_the_server_s(detailed: Finished) -> None:
    """The means over the same requests. vLLM counts from when it begins to make tokens of the prompt until its front
    has the first of the answer; ours has HTTP, JSON and the loopback on top, both ways."""
    first, last = (sample["histograms"] for sample in (detailed.samples[0], detailed.samples[-1]))
    served = sum(last["ttft"]["counts"]) - sum(first["ttft"]["counts"])
    assert served == SESSIONS * TURNS == sum(last["e2e"]["counts"]) - sum(first["e2e"]["counts"])
    theirs = Means(*((last[name]["sum"] - first[name]["sum"]) / served * 1e3 for name in ("ttft", "e2e")))
    spans = [
        [(record[end] - record["sent_ns"]) / 1e6 for record in detailed.records]
        for end in ("first_token_ns", "last_token_ns")
    ]
    core = [record["server"]["metrics"] for record in detailed.records]
    inside = mean(times["queue_time_ms"] + times["time_to_first_token_ms"] for times in core)
    assert inside <= theirs.ttft, "the span of its front holds that of its core"
    told = f"the server's {theirs.ttft:.1f} ms, of its core {inside:.1f} ms (means of {served:.0f})"
    hold(Means(*map(mean, spans)), theirs, told, {one["code"] for one in detailed.summary["validity"]["findings"]})


@pytest.fixture(scope="module")
def plain(vllm: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same server without details, fewer sessions."""
    home = tmp_path_factory.mktemp("vllm-plain")
    return run(home, "vllm.yaml", *small(vllm, tiny_model), "load.sessions=8")


def test_cached_tokens_are_unknown_without_details(plain: Finished) -> None:
    assert plain.summary["counts"]["requests"]["ok"] == 8 * TURNS
    assert plain.summary["tokens"]["cached_input"] is None
    assert all(record["cached_tokens"] is None for record in plain.records)


def test_react_and_orchestrator(vllm: Path, tiny_model: Path, tmp_path: Path) -> None:
    """One start of the engine for both kinds of agents."""
    (tmp_path / "agents.yaml").write_text(agents.config({"kind": "vllm"}))
    backend = [one for one in small(vllm, tiny_model, "--enable-prompt-tokens-details") if one.startswith("backend.")]
    done = run(tmp_path, str(tmp_path / "agents.yaml"), *backend)
    agents.check(done.summary, done.records)


def test_transformers_serve(tiny_model: Path, tmp_path: Path) -> None:
    """The plain PyTorch baseline, from the same venv: one-turn chat, one request after the other."""
    command = [str(VENV / "bin" / "transformers"), "serve", "{model}", "--device", "cpu", "--dtype", "float32"]
    command += ["--host", "{host}", "--port", "{port}"]
    done = run(
        tmp_path,
        "engines/transformers.yaml",
        f"backend.launch.command={json.dumps(command)}",
        "backend.launch.args=[]",
        f"backend.launch.model={tiny_model / 'hf'}",
        "workload.turns=1",
        "workload.think=0s",
        "workload.output_tokens=20",
        "load.concurrency=2",
        "load.warmup=0",
        "load.sessions=20",
        "load.workers=1",
    )
    assert done.summary["counts"]["requests"]["ok"] == 20
    assert done.summary["counts"]["requests"]["failed"] == 0
    assert done.summary["tokens"]["output"] == 20 * 20
    assert done.summary["target"]["engine"] == "transformers"
