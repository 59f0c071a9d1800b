"""llama.cpp: `llama-server`, or the server of llama-cpp-python; up already, or started and stopped by harness."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.backends import launch
from harness.backends.openai_dialect import Fields
from harness.backends.protocol import Target
from harness.backends.served import Served
from harness.config import BackendConfig
from harness.config.experiment import Launch
from harness.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    import httpx

_LOADING_S = 300.0


class LlamaCpp(Served):
    """llama.cpp by its OpenAI-compatible API."""

    name = "llama.cpp"

    class Params(BackendConfig):
        """Keys of `backend:` for kind `llamacpp`."""

        kind: str = "llamacpp"
        server: Literal["llama-server", "llama-cpp-python"] = Field(
            "llama-server", description="Which of the two servers there are for llama.cpp"
        )
        binary: str | None = Field(
            None,
            description="llama-server, or the Python that has llama-cpp-python; default: $LLAMA_SERVER or the one in "
            "PATH, or this Python",
        )
        cache_prompt: bool | None = Field(
            None, description="Use a slot's prompt cache again; default: as the server does (it does)"
        )
        tokens_per_event: Literal["off", "timings"] = Field(
            "off", description="Have the server tell with each event how many tokens it has made so far"
        )

        @property
        def request_ids(self) -> Literal[True, "uuid"]:
            """The Python server answers 400 to an x-request-id that is no UUID (starlette-context checks it)."""
            return "uuid" if self.server == "llama-cpp-python" else True

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if params.server == "llama-cpp-python":
            self.name = "llama-cpp-python"
            self.health = "/v1/models"

    @contextmanager
    def launch(self, log: Path | None = None) -> Iterator[BackendConfig]:
        """As `Served.launch`; a server that is up but still loads its model is waited for."""
        with super().launch(log) as params:
            if self.params.launch is None and self.params.server == "llama-server":
                root = str(params.url).rstrip("/").removesuffix("/v1")
                launch.await_loaded(f"{root}/health", name=self.name, timeout_s=_LOADING_S)
            yield params

    def command(self, launch_: Launch) -> list[str]:
        """llama-server tells its metrics; llama-cpp-python does not cut off one answer for the next. A model without a
        name is called as its file is: the servers would tell the whole path."""
        named = self.params.model or (Path(launch_.model).stem if launch_.model else None)
        if self.params.server == "llama-server":
            alias = ["--alias", named] if named and not {"--alias", "-a"} & set(launch_.args) else []
            return [self._binary(), "--model", "{model}", "--metrics", *alias]
        python = self.params.binary or sys.executable
        if not self.params.binary and find_spec("llama_cpp") is None:
            raise MissingExtra("starting llama-cpp-python (backend.launch without backend.binary)", "llamacpp")
        words = [python, "-m", "llama_cpp.server", "--model", "{model}"]
        words += ["--model_alias", named] if named and "--model_alias" not in launch_.args else []
        return words if "--interrupt_requests" in launch_.args else [*words, "--interrupt_requests", "false"]

    def _binary(self) -> str:
        found = self.params.binary or os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
        if not found:
            raise UsageError(
                "cannot find llama-server: it is not in PATH",
                remedy="name it: backend.binary, or the environment variable LLAMA_SERVER",
            )
        return str(found)

    def fields(self, target: Target) -> Fields:
        extra: dict[str, Any] = {}
        if self.params.cache_prompt is not None:
            extra["cache_prompt"] = self.params.cache_prompt
        if self.params.tokens_per_event == "timings" and self.params.stream:
            extra["timings_per_token"] = True
        return Fields(exact={"ignore_eos": True}, extra=extra)

    async def describe(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Build, context and slots. The Python server has no pages of its own."""
        target.engine = self.params.server
        if self.params.server != "llama-server":
            return
        props = await client.get(f"{root}/props")
        if props.status_code == 200:
            told = props.json()
            target.engine_version = told.get("build_info")
            target.facts |= {key: told[key] for key in ("total_slots", "model_path", "model_ftype") if key in told}
            settings = told.get("default_generation_settings") or {}
            if "n_ctx" in settings:
                target.facts["slot_context"] = settings["n_ctx"]
        slots = await client.get(f"{root}/slots")
        if slots.status_code == 200:
            target.facts["speculative"] = any(slot.get("speculative") for slot in slots.json())
        target.tokenize_url = f"{root}/tokenize"
        page = await client.get(f"{root}/metrics")
        if page.status_code == 200:
            target.metrics_url = f"{root}/metrics"

    async def prepare(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Nothing: the nonce of a run keeps its prompts out of the slots' caches."""
