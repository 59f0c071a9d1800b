from __future__ import annotations

from typing import Any

import pytest

from harness.metrics.precision import precision


@pytest.mark.parametrize(
    ("model", "config", "facts", "wanted"),
    [
        ("tiny", {}, {"model_ftype": "all F32"}, "F32"),
        ("tiny", {}, {"model_ftype": "mostly Q4_0", "model_path": "x-Q8_0.gguf"}, "Q4_0"),  # the engine knows best
        ("llama", {"backend": {"launch": {"args": ["--quantization", "fp8"]}}}, {}, "fp8"),
        ("llama", {"backend": {"launch": {"args": ["--dtype=bfloat16", "--port", "1"]}}}, {}, "bfloat16"),
        ("llama-AWQ", {"backend": {"launch": {"args": ["--dtype", "auto"]}}}, {}, "AWQ"),  # auto is no answer
        ("chat", {"backend": {"launch": {"model": "models/Llama-3.1-8B-Q4_K_M.gguf"}}}, {}, "Q4_K_M"),
        ("chat", {}, {"model_path": "/m/x.IQ2_XXS.gguf"}, "IQ2_XXS"),
        ("chat", {}, {"root": "nvidia/Llama-3.1-8B-Instruct-FP8"}, "FP8"),
        ("org/Qwen3-32B-W4A16", {}, {}, "W4A16"),
        ("mlx-community/Llama-3-8B-4bit", {}, {}, "4BIT"),
        ("meta-llama/Llama-3.1-8B-Instruct", {}, {}, ""),
        ("fp8-org/model", {}, {}, ""),  # whose it is says nothing of what it is
        ("gpt-4o", {"backend": {"launch": None}}, {}, ""),
    ],
)
def test_how_the_weights_are_held(model: str, config: dict[str, Any], facts: dict[str, Any], wanted: str) -> None:
    assert precision(model, config, facts) == wanted
