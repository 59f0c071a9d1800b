"""Engines in our own process: what is checked before anything starts, and what they say of each answer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness import registry
from harness.backends.protocol import Call, EngineFailure, InProcess, Reply, Target
from harness.errors import ConfigError, MissingExtra, TargetError

FAKES = Path(__file__).resolve().parents[2] / "fakes"
KINDS = ["llamacpp-inproc", "vllm-inproc"]


def made(kind: str, **keys: Any) -> Any:
    backend = registry.load("harness.backends", kind)
    return backend(backend.Params.model_validate({"kind": kind, **keys}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_package_is_told_before_anything_starts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.backends.inprocess.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as missing, made(kind, model="m").launch():
        pass
    assert missing.value.remedy == f"pip install 'inference-harness[{kind.partition('-')[0]}]'"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["url", "launch", "api_key", "headers"])
def test_there_is_no_server_to_configure(kind: str, key: str) -> None:
    values = {"url": "http://h/v1", "launch": {"model": "m"}, "api_key": "env:KEY", "headers": {"a": "b"}}
    with (
        pytest.raises(ConfigError, match=rf"backend\.{key}: .*has no server"),
        made(kind, model="m", **{key: values[key]}).launch(),
    ):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_there_must_be_a_model(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"backend\.model: is missing"), made(kind).launch():
        pass
    assert isinstance(made(kind), InProcess)


def test_a_model_file_and_fields_that_cannot_be_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.gguf"):
        made("llamacpp-inproc", model="nowhere.gguf").engine()
    (tmp_path / "m.gguf").touch()
    with pytest.raises(ConfigError, match=r"backend\.body\.logprobs"):
        made("llamacpp-inproc", model=str(tmp_path / "m.gguf"), body={"logprobs": 1}).engine()


def ask(backend: Any, engine: Any, content: str, tokens: int = 5, **call: Any) -> Reply:
    """One answer, read as any other is."""
    dialect = backend.dialect(Target(backend="", url="", model="m"))
    body = dialect.encode(Call(id="id", messages=[{"role": "user", "content": content}], output_tokens=tokens, **call))
    pieces: list[bytes] = []
    asyncio.run(engine.answer("id", body, pieces.append))
    decoder = dialect.decoder()
    if not dialect.stream:
        decoder.body(b"".join(pieces))
        return decoder.reply()
    for piece in pieces:
        assert piece.startswith(b"data: ") and piece.endswith(b"\n\n")
        if not piece.startswith(b"data: [DONE]"):
            decoder.event(piece[6:])
    assert pieces[-1] == b"data: [DONE]\n\n"
    return decoder.reply()


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Makes a backend on the fake llama_cpp, and its engine, loaded."""
    monkeypatch.syspath_prepend(str(FAKES))
    engines = []

    def make(name: str = "m.gguf", **keys: Any) -> tuple[Any, Any]:
        (tmp_path / name).touch()
        backend = made("llamacpp-inproc", model=str(tmp_path / name), **keys)
        engines.append(backend.engine())
        engines[-1].load()
        return backend, engines[-1]

    yield make
    for engine in engines:
        engine.close()
    for name in [name for name in sys.modules if name.partition(".")[0] == "llama_cpp"]:
        monkeypatch.delitem(sys.modules, name)


PROMPT = "user:Hi<end>"


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_llama_cpp(llama: Any, stream: bool) -> None:
    reply = ask(*llama(stream=stream), "Hi", exact_output=True)
    assert (reply.text, reply.finish_reason, reply.complete) == ("ABCDE", "length", True)
    assert (reply.usage.input, reply.usage.cached, reply.usage.output) == (len(PROMPT), 0, 5)
    assert reply.event_tokens == ([1] * 5 if stream else [5])
    assert reply.server is not None
    timings = reply.server["timings"]
    assert (timings["prompt_n"], timings["cache_n"], timings["predicted_n"]) == (len(PROMPT), 0, 5)
    assert timings["queue_ms"] >= 0 and timings["prompt_ms"] > 0 and timings["predicted_ms"] > 0


def test_completions(llama: Any) -> None:
    reply = ask(*llama(api="completions"), "Hi")
    assert (reply.text, reply.usage.input) == ("ABCDE", 2)


def test_what_prompts_have_in_common_is_cached(llama: Any) -> None:
    backend, engine = llama()
    ask(backend, engine, "Hi you")
    assert ask(backend, engine, "Hi there").usage.cached == len("user:Hi ")
    backend, engine = llama(cache_prompt=False)
    ask(backend, engine, "Hi you")
    assert ask(backend, engine, "Hi there").usage.cached == 0


def test_an_end_of_text_counts_and_can_be_passed_over(llama: Any) -> None:
    early = ask(*llama(engine={"ends": 2}), "Hi")
    assert (early.text, early.finish_reason, early.usage.output, early.event_tokens) == ("AB", "stop", 3, [1, 1, 1])
    exact = ask(*llama(engine={"ends": 2}), "Hi", exact_output=True)
    assert (exact.text, exact.finish_reason, exact.usage.output) == ("ABDE", "length", 5)


def test_a_context_that_is_full(llama: Any) -> None:
    backend, engine = llama(engine={"n_ctx": len(PROMPT) + 2})
    assert ask(backend, engine, "Hi", 50).usage.output == 2
    with pytest.raises(EngineFailure, match="14 tokens in a context of 14") as failure:
        ask(backend, engine, "Hi!!")
    assert failure.value.name == "context_exceeded"


def test_sampling_is_passed_on(llama: Any) -> None:
    backend, engine = llama(body={"temperature": 0.5, "top_k": 3, "seed": 9})
    ask(backend, engine, "Hi")
    assert engine._llama.sampled == {"temp": 0.5, "top_k": 3}
    assert engine._llama.seed == 9


def test_a_model_without_a_chat_template(llama: Any) -> None:
    with pytest.raises(EngineFailure) as failure:
        ask(*llama(engine={"template": False}), "Hi")
    assert failure.value.name == "no_chat_template"


def test_a_model_that_cannot_be_loaded(llama: Any) -> None:
    with pytest.raises(TargetError, match=r"cannot load .*Failed to load model"):
        llama("broken.gguf")
    with pytest.raises(TargetError, match="unexpected keyword argument 'n_cxt'"):
        llama(engine={"n_cxt": 4})


def test_an_answer_nobody_waits_for_is_not_made_to_its_end(llama: Any) -> None:
    backend, engine = llama(engine={"n_ctx": 1 << 30})
    pieces: list[bytes] = []
    body = backend.dialect(Target(backend="", url="", model="m")).encode(
        Call(id="id", messages=[{"role": "user", "content": "Hi"}], output_tokens=1 << 29)
    )

    async def impatient() -> None:
        asking = asyncio.create_task(engine.answer("id", body, pieces.append))
        while len(pieces) < 3:
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(impatient())
    assert ask(backend, engine, "Hi").usage.output == 5  # the thread is free again


class FakeVLLM:
    """As much of AsyncLLM as harness calls: three tokens, in two outputs."""

    def __init__(self, failure: Exception | None = None, finish: str = "length") -> None:
        self.failure = failure
        self.finish = finish
        self.asked: list[Any] = []
        self.tokenizer = SimpleNamespace(
            apply_chat_template=lambda messages, tokenize, add_generation_prompt: messages[0]["content"],
            encode=lambda text, add_special_tokens=True: list(text.encode()),
        )

    async def generate(self, prompt: Any, how: Any, request_id: str) -> Any:
        self.asked.append((prompt, how, request_id))
        if self.failure is not None:
            raise self.failure
        stats = SimpleNamespace(queued_ts=1.0, scheduled_ts=1.5, first_token_ts=2.0, last_token_ts=4.0)
        for text, ids, finish in (("ab", [7, 8], None), ("c", [9], self.finish)):
            piece = SimpleNamespace(text=text, token_ids=ids, finish_reason=finish)
            yield SimpleNamespace(outputs=[piece], num_cached_tokens=1, metrics=stats)

    def shutdown(self) -> None:
        self.asked.append("shutdown")


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a backend and an engine that holds this fake."""
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"SamplingParams": lambda **keys: keys},
        "vllm.inputs": {"TokensPrompt": lambda **keys: keys},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(DELTA="delta")},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def make(fake: FakeVLLM, **keys: Any) -> tuple[Any, Any]:
        backend = made("vllm-inproc", model="m", **keys)
        engine = backend.engine()
        engine._llm = fake
        return backend, engine

    return make


def test_an_answer_of_vllm(vllm: Any) -> None:
    fake = FakeVLLM()
    backend, engine = vllm(fake, body={"temperature": 0})
    reply = ask(backend, engine, "Hello", exact_output=True)
    assert (reply.text, reply.finish_reason, reply.event_tokens) == ("abc", "length", [2, 1])
    assert (reply.usage.input, reply.usage.cached, reply.usage.output) == (5, 1, 3)
    times = {"queue_time_ms": 500.0, "time_to_first_token_ms": 500.0, "generation_time_ms": 2000.0}
    assert reply.server == {"metrics": times}
    prompt, how, request_id = fake.asked[0]
    assert prompt == {"prompt_token_ids": list(b"Hello")} and request_id == "id"
    assert how == {"max_tokens": 5, "ignore_eos": True, "output_kind": "delta", "temperature": 0}
    assert ask(*vllm(FakeVLLM(), api="completions", stream=False), "Hello").text == "abc"
    engine.close()
    assert fake.asked[-1] == "shutdown"


@pytest.mark.parametrize(
    ("fake", "name"),
    [
        (FakeVLLM(ValueError("the prompt is longer than the maximum model length of 4")), "context_exceeded"),
        (FakeVLLM(ValueError("top_k must be -1")), "engine_error"),
        (FakeVLLM(finish="abort"), "engine_error"),
    ],
)
def test_what_vllm_refuses(vllm: Any, fake: FakeVLLM, name: str) -> None:
    with pytest.raises(EngineFailure) as failure:
        ask(*vllm(fake), "Hello")
    assert failure.value.name == name


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_says_where_it_is(kind: str) -> None:
    target = Target(backend=kind, url="in-process", model="m")
    asyncio.run(made(kind, model="m").describe(target, None, ""))
    assert target.facts == {"in_process": True}
    assert target.engine == {"llamacpp-inproc": "llama-cpp-python", "vllm-inproc": "vllm"}[kind]


def test_a_request_is_what_the_dialect_wrote() -> None:
    dialect = made("llamacpp-inproc", model="m", body={"temperature": 0}).dialect(Target(backend="", url="", model="m"))
    body = json.loads(dialect.encode(Call(id="id", messages=[], output_tokens=3, exact_output=True)))
    assert (body["ignore_eos"], body["max_tokens"], body["temperature"]) == (True, 3, 0)
