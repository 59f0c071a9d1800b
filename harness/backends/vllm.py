"""vLLM: a server that is up, or `vllm serve` started and stopped by harness."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.backends.openai_dialect import Fields
from harness.backends.protocol import Target
from harness.backends.served import Served
from harness.config import BackendConfig
from harness.config.experiment import Launch
from harness.errors import MissingExtra, TargetError

if TYPE_CHECKING:
    import httpx

_CONFIG = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SETTINGS = ("block_size", "cache_dtype", "enable_prefix_caching", "gpu_memory_utilization", "num_gpu_blocks")


class VLLM(Served):
    """`vllm serve`, by its OpenAI-compatible API."""

    name = "vLLM"

    class Params(BackendConfig):
        """Keys of `backend:` for kind `vllm`."""

        kind: str = "vllm"
        binary: str | None = Field(None, description="The vllm command; default: the one of this Python, or in PATH")
        tokens_per_event: Literal["off", "usage", "token_ids"] = Field(
            "off",
            description="Have the server tell how many tokens each event holds, at some cost to it: by usage in every "
            "event, or by token ids. Wanted with speculative decoding, where events hold several",
        )
        cache_reset: Literal["auto", True, False] = Field(
            "auto",
            description="Empty the prefix cache before the load: where the server can (auto), or else fail (true)",
        )
        cache_salt: bool = Field(
            False, description="Keep this run's prefix cache apart from all others by a salt in every request"
        )

    def command(self, launch_: Launch) -> list[str]:
        served = "--served-model-name"
        words = [self._binary(), "serve", "{model}"]
        return [*words, served, self.params.model] if self.params.model and served not in launch_.args else words

    def _binary(self) -> str:
        beside = Path(sys.executable).with_name("vllm")
        found = self.params.binary or (str(beside) if beside.exists() else shutil.which("vllm"))
        if found is None:
            raise MissingExtra("starting vLLM (backend.launch without backend.binary)", "vllm")
        return str(found)

    def environment(self) -> dict[str, str]:
        """No report to its makers about a benchmark."""
        return {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}

    def fields(self, target: Target) -> Fields:
        usage: dict[str, Any] = {"include_usage": True}
        extra: dict[str, Any] = {}
        if self.params.tokens_per_event == "usage":
            usage["continuous_usage_stats"] = True
        elif self.params.tokens_per_event == "token_ids" and self.params.stream:
            extra["return_token_ids"] = True
        if "cache_salt" in target.facts:
            extra["cache_salt"] = target.facts["cache_salt"]
        # ignore_eos is enough: min_tokens would have the engine mask tokens at every step, which costs it time
        return Fields(usage={"stream_options": usage}, exact={"ignore_eos": True}, extra=extra)

    async def describe(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Version, context, cache settings, and what may be asked of it."""
        target.engine = "vllm"
        version = await client.get(f"{root}/version")
        if version.status_code == 200:
            target.engine_version = version.json().get("version")
        models = await client.get(f"{root}/v1/models")
        if models.status_code == 200:
            served = [model for model in models.json().get("data", ()) if model.get("id") == target.model]
            target.facts |= {key: model[key] for model in served for key in ("max_model_len", "root") if key in model}
        page = await client.get(f"{root}/metrics")
        if page.status_code == 200:
            target.metrics_url = f"{root}/metrics"
            for labels in _CONFIG.findall(page.text)[:1]:
                told = dict(_LABEL.findall(labels))
                target.facts |= {name: told[name] for name in _SETTINGS if name in told}
        reset = await client.get(f"{root}/reset_prefix_cache")  # GET resets nothing
        target.abilities["prefix_cache_reset"] = reset.status_code != 404
        target.tokenize_url = f"{root}/tokenize"

    async def prepare(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Empty the prefix cache, or keep apart from it."""
        if self.params.cache_salt:
            target.facts["cache_salt"] = secrets.token_hex(16)
        asked = self.params.cache_reset
        if asked is False or (asked == "auto" and not target.abilities.get("prefix_cache_reset")):
            return
        answer = await client.post(f"{root}/reset_prefix_cache")
        target.facts["cache_reset"] = answer.status_code == 200
        if asked is True and answer.status_code != 200:
            raise TargetError(
                f"cannot empty the prefix cache of {target.url}: HTTP {answer.status_code}",
                remedy="start vLLM with VLLM_SERVER_DEV_MODE=1, or leave out backend.cache_reset: a nonce in every "
                "prompt keeps earlier runs out as well",
            )
