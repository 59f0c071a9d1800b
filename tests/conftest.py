"""Real inference engines as fixtures. Each is started once a test session, on a free port of the loopback.

An engine that was not built (tests/engines/build.py) makes its tests skip, with the reason. After a build,
HARNESS_REQUIRE_ENGINES=1 makes them fail instead: a test that should have run must not vanish.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()


@dataclass(frozen=True)
class Engine:
    """A server that is up. `url` is the base of the OpenAI API, `root` that of the engine's own paths."""

    url: str
    root: str
    model: str
    pid: int
    log: Path


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A folder with the tiny model: `model.gguf` and `hf/`. Its answers never end by themselves."""
    script = ROOT / "tests" / "engines" / "tiny_model.py"
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def llama_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """llama.cpp's server: 8 slots that share one thread, so that it leaves a core to the load generator."""
    binary = _built(CACHE / "engines" / "llama-server", "llama-server")
    port = _free_port()
    options = f"--host 127.0.0.1 --port {port} -t 1 -np 8 -c 32768 --metrics --slots --alias tiny"
    command = [str(binary), "-m", str(tiny_model / "model.gguf"), *options.split()]
    with _server(command, port, "/health", tmp_path_factory.mktemp("llama-server")) as engine:
        yield engine


@pytest.fixture(scope="session")
def llama_server_with_tools(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """llama.cpp's server with a chat template that writes tools, calls of them and their results into the prompt."""
    binary = _built(CACHE / "engines" / "llama-server", "llama-server")
    port = _free_port()
    template = ROOT / "tests" / "engines" / "tools.jinja"
    options = f"--host 127.0.0.1 --port {port} -t 1 -np 4 -c 32768 --alias tiny --jinja --chat-template-file {template}"
    command = [str(binary), "-m", str(tiny_model / "model.gguf"), *options.split()]
    with _server(command, port, "/health", tmp_path_factory.mktemp("llama-server-with-tools")) as engine:
        yield engine


@pytest.fixture(scope="session")
def llamacpp_python_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The server of llama-cpp-python: one request at a time, the others wait."""
    ready = _built(CACHE / "engines" / "llamacpp-venv" / "ready", "llama-cpp-python")
    port = _free_port()
    model = tiny_model / "model.gguf"
    options = f"--host 127.0.0.1 --port {port} --n_ctx 4096 --n_threads 1 --interrupt_requests false"
    command = [str(ready.with_name("bin") / "python"), "-m", "llama_cpp.server", "--model", str(model)]
    command += ["--model_alias", "tiny", *options.split()]
    with _server(command, port, "/v1/models", tmp_path_factory.mktemp("llama-cpp-python")) as engine:
        yield engine


def _built(path: Path, name: str) -> Path:
    if path.exists():
        return path
    reason = f"{name} is not built: python tests/engines/build.py {name}"
    if os.environ.get("HARNESS_REQUIRE_ENGINES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _server(command: Sequence[str], port: int, ready: str, folder: Path, patience: float = 60) -> Iterator[Engine]:
    """Run a server in a process group of its own until the block ends. It is up once `ready` answers 200."""
    log, root = folder / "server.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(process, root + ready, log, patience)
        yield Engine(url=f"{root}/v1", root=root, model="tiny", pid=process.pid, log=log)
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    state = "is not healthy" if process.poll() is None else f"ended with code {process.returncode}"
    pytest.fail(f"{process.args!r}: {state}; its last words:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: first politely, then for good."""
    for signum, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, signum)
            process.wait(patience)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait()
