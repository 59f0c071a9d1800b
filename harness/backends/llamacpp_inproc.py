"""llama.cpp in our own process, by llama-cpp-python: no server, no network.

Answers are made by `Llama.generate`, the token loop that its chat calls are built on, from the chat template in the
model's file. One answer is made at a time; others wait, and their wait is part of their `ttft`.
"""

from __future__ import annotations

import asyncio
import codecs
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.backends.inprocess import Answer, Asked, InProcessBackend, InProcessParams, does_not_fit
from harness.backends.protocol import EngineFailure
from harness.clock import now_ns
from harness.errors import ConfigError, TargetError

_TEMPLATE = "tokenizer.chat_template"
# Fields of a request, and what `Llama.generate` calls them.
_SAMPLING = {
    "temperature": "temp",
    **{name: name for name in ("top_k", "top_p", "min_p", "typical_p", "repeat_penalty")},
    **{name: name for name in ("frequency_penalty", "presence_penalty", "mirostat_mode", "mirostat_tau")},
}


class LlamaCppInProcess(InProcessBackend):
    """llama-cpp-python's `Llama`, loaded by the worker."""

    module = "llama_cpp"
    extra = "llamacpp"
    packages = ("llama_cpp_python",)
    name = "llama-cpp-python"

    class Params(InProcessParams):
        """Keys of `backend:` for kind `llamacpp-inproc`."""

        kind: str = "llamacpp-inproc"
        engine: dict[str, Any] = Field(
            default_factory=dict, description="Arguments of llama_cpp.Llama: n_ctx, n_threads, n_gpu_layers, ..."
        )
        cache_prompt: bool = Field(True, description="Use what the last answer left in the cache where prompts agree")

    def engine(self) -> LlamaEngine:
        """
        Raises:
            ConfigError: there is no such model file, or `body` has a field that cannot be passed on.
        """
        params = self.params
        if not Path(params.model).is_file():
            raise ConfigError("backend.model", f"there is no file {params.model}")
        for name in params.body:
            if name not in {*_SAMPLING, "seed", "ignore_eos"}:
                known = ", ".join(sorted({*_SAMPLING, "seed", "ignore_eos"}))
                raise ConfigError(f"backend.body.{name}", f"kind {params.kind} cannot pass that on; it can: {known}")
        return LlamaEngine(params.model, params.engine, cache_prompt=params.cache_prompt)


class LlamaEngine:
    """See `harness.backends.protocol.LocalEngine`. One thread makes all answers, in the order they were asked for."""

    def __init__(self, model: str, arguments: dict[str, Any], *, cache_prompt: bool = True) -> None:
        self._path = model
        self._arguments = arguments
        self._cache_prompt = cache_prompt
        self._thread = ThreadPoolExecutor(1, "llama.cpp")
        self._llama: Any = None

    def load(self) -> None:
        import llama_cpp

        class Counted(llama_cpp.Llama):  # type: ignore[misc]
            """Tells how many tokens went through the model: of a prompt, those that were not cached."""

            evaluated = 0

            def eval(self, tokens: Any) -> None:
                self.evaluated += len(tokens)
                super().eval(tokens)

        try:
            self._llama = Counted(model_path=self._path, **{"verbose": True, **self._arguments})
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            raise TargetError(
                f"llama.cpp cannot load {self._path}: {error}",
                remedy="is it a GGUF file, and are the arguments in backend.engine those of llama_cpp.Llama?",
            ) from error
        self._llama.verbose = False  # it would print a line an answer
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._ends = partial(llama_cpp.llama_vocab_is_eog, self._vocabulary)
        self._formatter = self._chat_formatter()

    def _chat_formatter(self) -> Any:
        """Makes a prompt of messages by the template in the model's file; None where it has none."""
        import llama_cpp
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        template = self._llama.metadata.get(_TEMPLATE)
        if template is None:
            return None
        eos, bos = (
            "" if token == -1 else llama_cpp.llama_vocab_get_text(self._vocabulary, token).decode()
            for token in (self._llama.token_eos(), self._llama.token_bos())
        )
        return Jinja2ChatFormatter(template=template, eos_token=eos, bos_token=bos)

    async def answer(self, request_id: str, body: bytes, say: Callable[[bytes], None]) -> None:
        stopped = threading.Event()
        asked_ns = now_ns()
        try:
            make = partial(self._make, Asked.read(body), say, stopped, asked_ns)
            await asyncio.get_running_loop().run_in_executor(self._thread, make)
        finally:
            stopped.set()

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._llama is not None:
            self._llama.close()

    # -- in the engine's thread

    def _make(self, asked: Asked, say: Callable[[bytes], None], stopped: threading.Event, asked_ns: int) -> None:
        """One answer, token by token. An end of text that the model made is counted as a token."""
        started_ns = now_ns()
        llama, sampling = self._llama, dict(asked.sampling)
        prompt = self._prompt(asked)
        room = llama.n_ctx() - len(prompt)
        if room < 1:
            raise does_not_fit(len(prompt), llama.n_ctx())
        go_on, seed = sampling.pop("ignore_eos", False), sampling.pop("seed", None)
        if seed is not None:
            llama.set_seed(seed)
        if not self._cache_prompt:
            llama.reset()
        answer, decode = Answer(asked, say), codecs.getincrementaldecoder("utf-8")("replace").decode
        finish, before, llama.evaluated = "length", prompt[-1:], 0
        computed, first_ns = 0, 0
        for token in llama.generate(prompt, **{_SAMPLING[name]: value for name, value in sampling.items()}):
            if not answer.made:
                computed, first_ns = llama.evaluated, now_ns()
            text = decode(llama.detokenize([token], prev_tokens=before))
            answer.tokens(text, [token])
            before = [token]
            if not go_on and self._ends(token):
                finish = "stop"
                break
            if stopped.is_set() or answer.made >= min(asked.max_tokens, room):
                break
        timings = {
            "queue_ms": (started_ns - asked_ns) / 1e6,
            "cache_n": len(prompt) - computed,
            "prompt_n": computed,
            "prompt_ms": (first_ns - started_ns) / 1e6,
            "predicted_n": answer.made,
            "predicted_ms": (now_ns() - first_ns) / 1e6,
        }
        answer.end(finish, prompt=len(prompt), cached=len(prompt) - computed, server={"timings": timings})

    def _prompt(self, asked: Asked) -> list[int]:
        """The tokens of the prompt, as llama-cpp-python's own calls make them."""
        if asked.messages is None:
            return list(self._llama.tokenize((asked.prompt or "").encode(), add_bos=True, special=True))
        if self._formatter is None:
            raise EngineFailure("no_chat_template", "there is none in the model's file: set backend.api: completions")
        made = self._formatter(messages=asked.messages)
        return list(self._llama.tokenize(made.prompt.encode(), add_bos=not made.added_special, special=True))
