"""The simulated engine as a target: started in a process of its own, spoken to over real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.backends.openai_dialect import OpenAIDialect
from harness.backends.protocol import Dialect, Target
from harness.config import BackendConfig, Duration
from harness.errors import TargetError

_START_S = 20.0


class Sim:
    """`harness sim` with a profile or a fixed pace, for as long as the run lasts."""

    class Params(BackendConfig):
        """Keys of `backend:` for kind `sim`."""

        kind: str = "sim"
        profile: str | None = Field(None, description="Profile of the simulated engine; default instant")
        ttft: Duration | None = Field(None, description="Fixed pace instead of a profile: time to first token")
        itl: Duration | None = Field(None, description="Fixed pace: time between tokens")
        sim_seed: int = Field(0, ge=0, description="Seed of the engine's jitter and faults")
        truth: str | None = Field(None, description="Write the ground truth of every event to this file")
        options: list[str] = Field(default_factory=list, description="Further options of `harness sim`")

    def __init__(self, params: Params) -> None:
        self.params = params

    @contextmanager
    def launch(self, log: Path | None = None) -> Iterator[BackendConfig]:
        """Start the simulator unless `url` names one that runs; stop it at exit."""
        if self.params.url:
            yield self.params
            return
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "sim", *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield self.params.model_copy(update={"url": _listening(process)})
        finally:
            _stop(process)

    def _arguments(self) -> list[str]:
        params = self.params
        chosen: dict[str, Any] = {
            "--profile": params.profile,
            "--ttft": None if params.ttft is None else f"{params.ttft}s",
            "--itl": None if params.itl is None else f"{params.itl}s",
            "--truth": params.truth,
            "--seed": params.sim_seed,
            "--port": 0,
            "--parent-pid": os.getpid(),
        }
        pairs = [[name, str(value)] for name, value in chosen.items() if value is not None]
        return [*(word for pair in pairs for word in pair), *params.options]

    def dialect(self, target: Target) -> Dialect:
        return OpenAIDialect(self.params, target.model, strict=target.strict)


def _listening(process: subprocess.Popen[str]) -> str:
    """The base URL from the simulator's first line.

    Raises:
        TargetError: it ended or stayed silent; its last words are in the message.
    """
    assert process.stdout is not None and process.stderr is not None
    words: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=lambda: words.extend(process.stderr or ()), daemon=True)
    reader.start()
    alarm = threading.Timer(_START_S, process.kill)
    alarm.start()
    line = process.stdout.readline()
    alarm.cancel()
    if not line.startswith("listening on "):
        process.wait()
        reader.join(1.0)
        raise TargetError(f"the simulated engine did not start: {''.join(words).strip() or 'no word from it'}")
    return line.removeprefix("listening on ").strip()


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
