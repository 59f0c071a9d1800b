"""llama-cpp-python and vLLM inside harness itself, for real: the venvs that their servers run from run harness, too."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
ENGINES = CACHE / "engines"
SESSIONS, TURNS, OUTPUT = 100, 3, 40

pytestmark = pytest.mark.engine


class Finished(NamedTuple):
    """One run: its summary, its manifest, its records, and what the engine printed."""

    summary: dict[str, Any]
    manifest: dict[str, Any]
    records: list[dict[str, Any]]
    log: str


def environment(home: Path) -> dict[str, str]:
    """For the Python of another venv, which takes from ours what it lacks, harness among it."""
    place = home / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return os.environ | offline | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def run(venv: Path, home: Path, config: str, *overrides: str) -> Finished:
    """`harness run` by the Python of another venv."""
    command = [str(venv / "bin" / "python"), "-m", "harness", "run", str(ROOT / "configs/engines" / config)]
    for override in overrides:
        command += ["-o", override]
    done = subprocess.run(
        [*command, "--json", "--quiet"],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 4, 10, 12), done.stderr
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    return Finished(
        json.loads(done.stdout),
        json.loads((folder / "manifest.json").read_text()),
        [json.loads(line) for line in (folder / "records-0.jsonl").read_text().splitlines()],
        (folder / "engine.log").read_text(errors="replace"),
    )


def load(concurrency: int, sessions: int = SESSIONS) -> list[str]:
    exact = ["workload.exact_output=true", f"workload.output_tokens={OUTPUT}", "workload.think=0s"]
    return [*exact, f"load.concurrency={concurrency}", f"load.sessions={sessions}", "load.warmup=0"]


def check(done: Finished, engine: str) -> None:
    """What holds for both: nothing failed, every token is accounted for, and it is said where it happened."""
    requests = SESSIONS * TURNS
    assert done.summary["counts"]["requests"] == {"sent": requests, "ok": requests, "failed": 0, "by_error": {}}
    assert done.summary["counts"]["sessions"]["finished"] == SESSIONS
    assert (done.summary["target"]["engine"], done.summary["target"]["url"]) == (engine, "in-process")
    assert done.summary["target"]["engine_version"]
    assert "in_process" in {finding["code"] for finding in done.summary["validity"]["findings"]}
    assert done.summary["tokens"]["source"] == "server"
    assert done.summary["tokens"]["output"] == requests * OUTPUT
    assert done.summary["tokens"]["cached_input"] > 0
    for record in done.records:
        assert sum(record["chunk_tokens"]) == record["output_tokens"] == OUTPUT
        assert record["sent_ns"] < record["first_token_ns"] <= record["last_token_ns"] <= record["end_ns"]
        assert record["chunk_us"] == sorted(record["chunk_us"])
        assert (record["clock"], record["bytes_in"], record["connect_ns"]) == ("user", 0, None)
    inputs: dict[str, list[int]] = defaultdict(list)
    for record in sorted(done.records, key=lambda record: str(record["node"])):
        inputs[record["session"]].append(record["input_tokens"])
    assert all(one < two < three for one, two, three in inputs.values()), "prompts hold the turns before"


@pytest.fixture
def llamacpp() -> Path:
    venv = ENGINES / "llamacpp-venv"
    return _there(venv, "llama-cpp-python is not built: make engines", "HARNESS_REQUIRE_ENGINES")


@pytest.fixture
def vllm() -> Path:
    return _there(ENGINES / "vllm-venv", "vLLM is not installed: make test-vllm", "HARNESS_REQUIRE_VLLM")


def _there(venv: Path, reason: str, required: str) -> Path:
    if not (venv / "ready").is_file():
        if os.environ.get(required) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return venv


def test_llama_cpp_python(llamacpp: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Two sessions at once on an engine that makes one answer at a time: the wait is in ttft, and told apart."""
    threads = "backend.engine={n_ctx: 4096, n_threads: 1, n_threads_batch: 1}"
    model = f"backend.model={tiny_model / 'model.gguf'}"
    done = run(llamacpp, tmp_path, "llamacpp-inproc.yaml", threads, model, *load(2))
    check(done, "llama-cpp-python")
    for record in done.records:
        timings, ttft_ms = record["server"]["timings"], (record["first_token_ns"] - record["sent_ns"]) / 1e6
        assert timings["predicted_n"] == record["output_tokens"]
        assert timings["cache_n"] + timings["prompt_n"] == record["input_tokens"]
        assert timings["cache_n"] == record["cached_tokens"]
        assert timings["queue_ms"] + timings["prompt_ms"] <= ttft_ms
    assert "llama_context" in done.log


SCRIPT = """
import asyncio, sys
from harness.backends.llamacpp_inproc import LlamaEngine

engine = LlamaEngine(sys.argv[1], {"n_ctx": 4096, "n_threads": 1, "n_threads_batch": 1})
engine.load()
asyncio.run(engine.answer("id", sys.argv[2].encode(), sys.stdout.buffer.write))
engine.close()
"""


def test_llama_cpp_python_says_what_llama_server_says(
    llamacpp: Path, llama_server: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """The same words, from a prompt of the same length: template, tokenizer and text are right."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the answer?"}]
    body = {"messages": messages, "max_tokens": 32, "temperature": 0}
    answer = httpx.post(f"{llama_server.url}/chat/completions", json=body, timeout=60, trust_env=False).json()
    command = [llamacpp / "bin" / "python", "-c", SCRIPT, tiny_model / "model.gguf", json.dumps(body)]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["choices"][0]["message"]["content"] == answer["choices"][0]["message"]["content"]
    for count in ("prompt_tokens", "completion_tokens"):
        assert told["usage"][count] == answer["usage"][count]


@pytest.mark.vllm
def test_vllm(vllm: Path, tiny_model: Path, tmp_path: Path) -> None:
    engine = {"dtype": "float32", "max_model_len": 4096, "enforce_eager": True, "num_gpu_blocks_override": 256}
    words = [f"backend.engine={json.dumps(engine)}", f"backend.model={tiny_model / 'hf'}"]
    done = run(vllm, tmp_path, "vllm-inproc.yaml", *words, *load(4))
    check(done, "vllm")
    for record in done.records:
        times = record["server"]["metrics"]
        ttft_ms = (record["first_token_ns"] - record["sent_ns"]) / 1e6
        assert times["queue_time_ms"] + times["time_to_first_token_ms"] <= ttft_ms
    assert not _left(done.manifest["target"]["pid"]), "a process of vLLM is left"


def _left(worker: int) -> list[str]:
    """Command lines of processes in the worker's session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                command = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if session == worker and command:
                found.append(command)
    return found
