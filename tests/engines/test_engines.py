"""The real engines are what we take them for: they start, answer, and agree with each other word for word."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import Engine

pytestmark = pytest.mark.engine

QUESTION = {"role": "user", "content": "What is the answer to the question?"}


def ask(engine: Engine, **fields: Any) -> dict[str, Any]:
    body = {"model": engine.model, "messages": [QUESTION], "temperature": 0, "max_tokens": 32, **fields}
    answer = httpx.post(f"{engine.url}/chat/completions", json=body, timeout=60, trust_env=False)
    answer.raise_for_status()
    reply: dict[str, Any] = answer.json()
    return reply


def test_llama_server_lists_the_model(llama_server: Engine) -> None:
    models = httpx.get(f"{llama_server.url}/models", trust_env=False).json()
    assert [model["id"] for model in models["data"]] == ["tiny"]


def test_llamacpp_python_lists_the_model(llamacpp_python_server: Engine) -> None:
    models = httpx.get(f"{llamacpp_python_server.url}/models", trust_env=False).json()
    assert [model["id"] for model in models["data"]] == ["tiny"]


def test_both_engines_say_the_same(llama_server: Engine, llamacpp_python_server: Engine) -> None:
    """Greedy, and without llama-cpp-python's own default of a penalty for repetitions."""
    replies = [ask(engine, repeat_penalty=1.0) for engine in (llama_server, llamacpp_python_server)]
    first, second = ((reply["choices"][0]["message"]["content"], reply["usage"]) for reply in replies)
    assert first[0].strip()
    assert first[0] == second[0]
    for count in ("prompt_tokens", "completion_tokens"):
        assert first[1][count] == second[1][count]


@pytest.mark.parametrize("temperature", [0, 1])
def test_answers_have_exactly_the_wanted_length(llama_server: Engine, temperature: int) -> None:
    reply = ask(llama_server, max_tokens=300, temperature=temperature)
    assert reply["usage"]["completion_tokens"] == 300
    assert reply["choices"][0]["finish_reason"] == "length"


def test_each_token_is_one_visible_piece(llama_server: Engine) -> None:
    body = {"messages": [QUESTION], "max_tokens": 100, "temperature": 1, "seed": 3, "stream": True}
    url = f"{llama_server.url}/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60, trust_env=False) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: {")]
    pieces = [json.loads(line)["choices"][0]["delta"].get("content") for line in lines]
    texts = [piece for piece in pieces if piece]
    assert len(texts) == 100
    assert all(text.isascii() and text.isprintable() for text in texts)


def test_server_tokenizes_as_the_tokenizer_file_says(llama_server: Engine, tiny_model: Path) -> None:
    vocabulary = json.loads((tiny_model / "hf" / "tokenizer.json").read_text())["model"]["vocab"]
    body = {"content": " again time<|im_end|>"}
    tokens = httpx.post(f"{llama_server.root}/tokenize", json=body, trust_env=False).json()["tokens"]
    assert tokens == [vocabulary["Ġagain"], vocabulary["Ġtime"], vocabulary["<|im_end|>"]]


def test_gguf_and_safetensors_hold_the_same_weights(tiny_model: Path) -> None:
    """Embeddings lie in both files byte for byte; only query and key rows are in another order."""
    packed = (tiny_model / "hf" / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", packed)
    header = json.loads(packed[8 : 8 + length])
    begin, end = header["model.embed_tokens.weight"]["data_offsets"]
    assert packed[8 + length + begin : 8 + length + end] in (tiny_model / "model.gguf").read_bytes()
