"""A second opinion: `vllm bench serve` and harness, in turn, on the same running vLLM server.

    python tests/benchmarks/second_opinion.py            three rounds of 40 requests, 4 at once

Needs tests/engines/install_vllm.py. One server with the tiny model; both clients send the same number of requests,
at the same concurrency, with inputs and outputs of the same length, and take turns. Prints the medians over the
rounds side by side as JSON: TTFT and TPOT in ms, output tokens a second. harness counts all of its run for the
throughput here, as the other does, and not only the window in which the load is full.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from harness.backends import launch

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
BIN = CACHE / "engines" / "vllm-venv" / "bin"
INPUT, OUTPUT = 128, 64
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
ENGINE = {**QUIET, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}

Figures = dict[str, float]


def theirs(root: str, model: Path, folder: Path, requests: int, concurrency: int, seed: int) -> Figures:
    """One run of `vllm bench serve`."""
    result = folder / f"theirs-{seed}.json"
    words = f"bench serve --backend openai-chat --base-url {root} --endpoint /v1/chat/completions --model tiny"
    words += (
        f" --tokenizer {model / 'hf'} --dataset-name random --random-input-len {INPUT} --random-output-len {OUTPUT}"
    )
    words += f" --num-prompts {requests} --max-concurrency {concurrency} --ignore-eos --seed {seed}"
    words += f" --save-result --result-filename {result}"
    run([str(BIN / "vllm"), *words.split()], folder)
    told = json.loads(result.read_text())
    return {
        "ttft_ms": told["median_ttft_ms"],
        "tpot_ms": told["median_tpot_ms"],
        "output_tokens_per_s": told["output_throughput"],
        "output_tokens": told["total_output_tokens"],
        "input_tokens": told["total_input_tokens"],
    }


def ours(root: str, folder: Path, requests: int, concurrency: int, seed: int) -> Figures:
    """One run of harness."""
    config = {
        "name": "second-opinion",
        "seed": seed,
        "backend": {"kind": "vllm", "url": f"{root}/v1", "model": "tiny"},
        "workload": {
            "kind": "chat",
            "turns": 1,
            "system_tokens": 0,
            "input_tokens": INPUT,
            "output_tokens": OUTPUT,
            "exact_output": True,
        },
        "load": {"concurrency": concurrency, "sessions": requests, "workers": 1},
    }
    (folder / "ours.json").write_text(json.dumps(config))
    out = folder / f"ours-{seed}"
    run([sys.executable, "-m", "harness", "run", "ours.json", "--quiet", "--out", str(out)], folder)
    records = [json.loads(line) for path in out.glob("*/records-*.jsonl") for line in path.read_text().splitlines()]
    decode = [(r["last_token_ns"] - r["first_token_ns"]) / (r["output_tokens"] - 1) for r in records]
    span = max(r["end_ns"] for r in records) - min(r["sent_ns"] for r in records)
    tokens = sum(r["output_tokens"] for r in records)
    return {
        "ttft_ms": median(r["first_token_ns"] - r["sent_ns"] for r in records) / 1e6,
        "tpot_ms": median(decode) / 1e6,
        "output_tokens_per_s": tokens / span * 1e9,
        "output_tokens": tokens,
        "input_tokens": sum(r["input_tokens"] for r in records),
    }


def run(command: list[str], folder: Path) -> None:
    """Run one client; 4 is harness's word for a busy machine, and no failure here."""
    done = subprocess.run(command, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4, 12):
        sys.exit(f"{command[0]} failed with code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def compare(rounds: int, requests: int, concurrency: int) -> dict[str, Any]:
    """Both clients, in turn, and the medians of their figures."""
    made = subprocess.run([sys.executable, ROOT / "tests/engines/tiny_model.py"], stdout=subprocess.PIPE, check=True)
    model = Path(made.stdout.decode().strip())
    port = launch.free_port()
    words = f"serve {model / 'hf'} --served-model-name tiny --host 127.0.0.1 --port {port} --dtype float32"
    words += " --max-model-len 4096 --enforce-eager --num-gpu-blocks-override 256"
    root = f"http://127.0.0.1:{port}"
    found: dict[str, list[Figures]] = {"vllm bench serve": [], "harness": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with launch.serve(
            "vllm", [str(BIN / "vllm"), *words.split()], health=f"{root}/health", timeout_s=300, env=ENGINE
        ):
            for seed in range(rounds + 1):
                pair = {
                    "vllm bench serve": theirs(root, model, folder, requests, concurrency, seed),
                    "harness": ours(root, folder, requests, concurrency, seed),
                }
                if seed:  # the first warms the server
                    for client, figures in pair.items():
                        found[client].append(figures)
    medians = {client: {key: median(f[key] for f in runs) for key in runs[0]} for client, runs in found.items()}
    other, mine = medians.values()
    return {
        "medians": medians,
        "difference": {key: mine[key] / other[key] - 1 for key in other},
        "rounds": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--concurrency", type=int, default=4)
    args = parser.parse_args()
    if not (BIN / "vllm").exists():
        print("vLLM is not installed: python tests/engines/install_vllm.py", file=sys.stderr)
        return 3
    print(json.dumps(compare(args.rounds, args.requests, args.concurrency), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
