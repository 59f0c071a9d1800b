"""Make a tiny language model with random weights: a GGUF file and a Hugging Face folder, equal in all.

    python tests/engines/tiny_model.py                   0.6 M parameters; says nothing sensible, very fast
    python tests/engines/tiny_model.py --size mid        26 M parameters: a realistic pace on one CPU core
    python tests/engines/tiny_model.py --eos-bias 8      answers end by themselves, at random

Prints the folder, which holds `model.gguf` and `hf/`. It lies in the cache under the hash of these sources
and the options, so a change of either makes it anew.

Every token is one visible piece of text and the end of the answer never comes unless it is asked for: what
a server streams can then be counted token by token. How: channel 0 of the residual stream is 1 in every
embedding and no layer writes to it, so column 0 of the output matrix is a bias on each token's logit.
Specials and bytes that are not printable ASCII get a large negative one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tiny_formats import Array, write_gguf, write_safetensors
from tiny_tokenizer import BOS, CHAT_TEMPLATE, END, PAD, SPECIALS, Tokenizer, train

HERE = Path(__file__).resolve().parent
NEVER = -60.0


@dataclass(frozen=True)
class Shape:
    """A Llama-like transformer. `eos_bias` is added to the logit of the end of the answer."""

    layers: int = 2
    dim: int = 128
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 256
    context: int = 8192
    eos_bias: float = NEVER
    seed: int = 0

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


SIZES = {"tiny": Shape(), "mid": Shape(layers=8, dim=512, heads=8, kv_heads=4, ffn=1536)}


def weights(shape: Shape, tokenizer: Tokenizer) -> dict[str, Array]:
    """Random tensors by their Hugging Face names. The vocabulary is padded to a multiple of 32."""
    random = np.random.default_rng(shape.seed)

    def normal(rows: int, columns: int, gain: float) -> Array:
        """Such that a unit-variance input of `columns` channels gives an output of deviation `gain`."""
        draws: Array = random.standard_normal((rows, columns)).astype(np.float32)
        return draws * np.float32(gain / np.sqrt(columns))

    rows, dim, kv = padded(tokenizer), shape.dim, shape.kv_heads * shape.head_dim
    embedding = normal(rows, dim, np.sqrt(dim))
    embedding[:, 0] = 1.0
    output = normal(rows, dim, 3.0)
    output[:, 0] = 0.0
    silent = np.array([not ok for ok in tokenizer.visible] + [True] * (rows - len(tokenizer.tokens)))
    output[silent] = 0.0
    output[silent, 0] = NEVER
    output[tokenizer.ids[END], 0] = shape.eos_bias
    tensors = {"model.embed_tokens.weight": embedding}
    for layer in range(shape.layers):
        back, down = normal(dim, dim, 0.6), normal(dim, shape.ffn, 0.6)
        back[0], down[0] = 0.0, 0.0
        parts = {
            "input_layernorm": np.ones(dim, np.float32),
            "self_attn.q_proj": normal(dim, dim, 1.4),
            "self_attn.k_proj": normal(kv, dim, 1.4),
            "self_attn.v_proj": normal(kv, dim, 1.0),
            "self_attn.o_proj": back,
            "post_attention_layernorm": np.ones(dim, np.float32),
            "mlp.gate_proj": normal(shape.ffn, dim, 1.0),
            "mlp.up_proj": normal(shape.ffn, dim, 1.0),
            "mlp.down_proj": down,
        }
        tensors |= {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in parts.items()}
    return tensors | {"model.norm.weight": np.ones(dim, np.float32), "lm_head.weight": output}


def padded(tokenizer: Tokenizer) -> int:
    """Size of the vocabulary as the model has it."""
    return -(-len(tokenizer.tokens) // 32) * 32


_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def to_gguf(path: Path, shape: Shape, tokenizer: Tokenizer, tensors: dict[str, Array]) -> None:
    """Write the model as llama.cpp reads it."""
    rows, named = padded(tokenizer), len(tokenizer.tokens)
    normal, control, unused = 1, 3, 5
    kinds = [control if token in SPECIALS else normal for token in tokenizer.tokens]
    fields: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "tiny-random",
        "general.file_type": 0,
        "llama.vocab_size": rows,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.dim,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.ffn,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokenizer.tokens + [f"[unused{place}]" for place in range(named, rows)],
        "tokenizer.ggml.token_type": kinds + [unused] * (rows - named),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tokenizer.merges],
        "tokenizer.ggml.bos_token_id": tokenizer.ids[BOS],
        "tokenizer.ggml.eos_token_id": tokenizer.ids[END],
        "tokenizer.ggml.padding_token_id": tokenizer.ids[PAD],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
    write_gguf(path, fields, {_gguf_name(name): _gguf_rows(name, tensors[name], shape) for name in tensors})


def _gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_GGUF_NAMES[part]}.weight"
    return f"{_GGUF_NAMES[stem]}.weight"


def _gguf_rows(name: str, tensor: Array, shape: Shape) -> Array:
    """Rotary embedding pairs rows i and i+n/2 of a head in Hugging Face, rows 2i and 2i+1 in llama.cpp."""
    if "q_proj" not in name and "k_proj" not in name:
        return tensor
    halves = tensor.reshape(-1, 2, shape.head_dim // 2, tensor.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(tensor.shape)


def to_huggingface(folder: Path, shape: Shape, tokenizer: Tokenizer, tensors: dict[str, Array]) -> None:
    """Write the model as transformers and vLLM read it."""
    folder.mkdir()
    ids = {
        "bos_token_id": tokenizer.ids[BOS],
        "eos_token_id": tokenizer.ids[END],
        "pad_token_id": tokenizer.ids[PAD],
    }
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": shape.dim,
            "intermediate_size": shape.ffn,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "vocab_size": padded(tokenizer),
            "max_position_embeddings": shape.context,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            **ids,
        },
        "generation_config.json": ids,
        "tokenizer.json": tokenizer.huggingface(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": END,
            "pad_token": PAD,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.context,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", tensors)


def cached(shape: Shape, label: str) -> Path:
    """The folder of that model in the cache, made where it is missing."""
    cache = Path(os.environ.get("HARNESS_CACHE") or HERE.parents[1] / ".cache") / "models"
    digest = hashlib.sha256(json.dumps(asdict(shape)).encode())
    for source in sorted(HERE.glob("tiny_*.py")):
        digest.update(source.read_bytes())
    folder = cache / f"{label}-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        make(shape, folder)
    return folder


def make(shape: Shape, folder: Path) -> None:
    """Write both forms of the model into the new `folder`, which appears complete or not at all."""
    tokenizer = train()
    tensors = weights(shape, tokenizer)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        to_gguf(draft / "model.gguf", shape, tokenizer, tensors)
        to_huggingface(draft / "hf", shape, tokenizer, tensors)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError:
        if not (folder / "hf").is_dir():  # else another process was faster: its model is the same
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    for name in ("layers", "dim", "context", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--eos-bias", type=float, help="e.g. 8: answers end at random (default: never)")
    parser.add_argument("--out", type=Path, help="a new folder, instead of the cache")
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    size, out = options.pop("size"), options.pop("out", None)
    shape = replace(SIZES[size], **options)
    if shape.dim % (2 * shape.heads):
        parser.error(f"--dim {shape.dim} is not a multiple of {2 * shape.heads}")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        make(shape, out)
    print(out or cached(shape, size))


if __name__ == "__main__":
    main()
