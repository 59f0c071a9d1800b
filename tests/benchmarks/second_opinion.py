"""A second opinion: `vllm bench serve` and harness, in turn, on the same running vLLM server.

    python tests/benchmarks/second_opinion.py                    three rounds of 60 requests, 4 at once; prints a table
    python tests/benchmarks/second_opinion.py --write docs/engines.md     and puts it between the page's two markers

Needs tests/engines/install_vllm.py; lasts three minutes on an idle machine. One server with the tiny model; both
clients send the same number of requests, at the same concurrency, with inputs and outputs of the same length, and take
turns. The medians over the rounds stand side by side. harness counts all of its run for the throughput here, as the
other does, and not only the window in which the load is full.

The server has all cores but the last one, the clients have that: vLLM's processes spin while they wait for each other,
and on few cores a client among them is not woken until an answer is complete.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from harness.backends import launch

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
BIN = CACHE / "engines" / "vllm-venv" / "bin"
INPUT, OUTPUT = 128, 64
BEGIN, END = "<!-- second opinion: begin -->", "<!-- second opinion: end -->"
NOTABLE = 0.05
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
ENGINE = {**QUIET, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}

Figures = dict[str, float]

# What is known to tell the two apart, for a difference that is notable.
REASONS = {
    "ttft_ms": "both take the first event that has a token. `vllm bench serve` starts its clock before it calls its "
    "HTTP library, and stops it when it has read and decoded the event; harness starts when it writes to the socket "
    "and takes the kernel's time of receipt: it reads lower by what a Python client takes for that",
    "tpot_ms": "both take the span from the first event with a token to the last, over one token less than there are",
    "output_tokens_per_s": "the same tokens over the span of all requests; the other's span also holds the making of "
    "its requests and the gathering of their results",
}
ROWS = {
    "ttft_ms": "median TTFT, ms",
    "tpot_ms": "median TPOT, ms",
    "output_tokens_per_s": "output tokens/s",
    "output_tokens": "output tokens",
    "input_tokens": "input tokens",
}


def theirs(root: str, model: Path, folder: Path, requests: int, concurrency: int, seed: int) -> Figures:
    """One run of `vllm bench serve`."""
    result = folder / f"theirs-{seed}.json"
    words = f"bench serve --backend openai-chat --base-url {root} --endpoint /v1/chat/completions --model tiny"
    words += (
        f" --tokenizer {model / 'hf'} --dataset-name random --random-input-len {INPUT} --random-output-len {OUTPUT}"
    )
    words += f" --num-prompts {requests} --max-concurrency {concurrency} --ignore-eos --seed {seed}"
    words += " --num-warmups 4 --disable-tqdm --temperature 0"
    words += f" --save-result --result-filename {result}"
    load = os.getloadavg()[0]
    run([str(BIN / "vllm"), *words.split()], folder)
    told = json.loads(result.read_text())
    return {
        "ttft_ms": told["median_ttft_ms"],
        "tpot_ms": told["median_tpot_ms"],
        "output_tokens_per_s": told["output_throughput"],
        "output_tokens": told["total_output_tokens"],
        "load": load,
        "input_tokens": told["total_input_tokens"],
    }


def ours(root: str, folder: Path, requests: int, concurrency: int, seed: int, inputs: int) -> Figures:
    """One run of harness, with prompts of so many tokens."""
    config = {
        "name": "second-opinion",
        "seed": seed,
        "backend": {"kind": "vllm", "url": f"{root}/v1", "model": "tiny", "body": {"temperature": 0}},
        "workload": {
            "kind": "chat",
            "turns": 1,
            "system_tokens": 0,
            "input_tokens": inputs,
            "output_tokens": OUTPUT,
            "exact_output": True,
        },
        "load": {"concurrency": concurrency, "sessions": requests, "workers": 1},
    }
    (folder / "ours.json").write_text(json.dumps(config))
    out = folder / f"ours-{seed}"
    load = os.getloadavg()[0]
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
        "load": load,
        "input_tokens": sum(r["input_tokens"] for r in records),
    }


def run(command: list[str], folder: Path) -> None:
    """Run one client; 4 is harness's word for a busy machine, and no failure here."""
    command = on_cores(command, sorted(os.sched_getaffinity(0))[-1:])
    done = subprocess.run(command, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4, 12):
        sys.exit(f"{command[0]} failed with code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def on_cores(command: list[str], cores: list[int]) -> list[str]:
    """The command, kept on these cores."""
    script = f"import os, sys; os.sched_setaffinity(0, {cores}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", script, *command]


def compare(rounds: int, requests: int, concurrency: int) -> dict[str, Any]:
    """Both clients, in turn, and the medians of their figures."""
    made = subprocess.run([sys.executable, ROOT / "tests/engines/tiny_model.py"], stdout=subprocess.PIPE, check=True)
    model = Path(made.stdout.decode().strip())
    port = launch.free_port()
    words = f"serve {model / 'hf'} --served-model-name tiny --host 127.0.0.1 --port {port} --dtype float32"
    words += " --max-model-len 4096 --enforce-eager --num-gpu-blocks-override 256"
    root, cores = f"http://127.0.0.1:{port}", sorted(os.sched_getaffinity(0))
    found: dict[str, list[Figures]] = {"vllm bench serve": [], "harness": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with launch.serve(
            "vllm",
            on_cores([str(BIN / "vllm"), *words.split()], cores[:-1] or cores),
            health=f"{root}/health",
            timeout_s=300,
            env=ENGINE,
        ):
            ours(root, folder, requests, concurrency, 0, INPUT)  # warms the server
            for seed in range(1, rounds + 1):
                found["vllm bench serve"].append(theirs(root, model, folder, requests, concurrency, seed))
                inputs = round(found["vllm bench serve"][-1]["input_tokens"] / requests)  # with the chat template's
                found["harness"].append(ours(root, folder, requests, concurrency, seed, inputs))
    medians = {client: {key: median(f[key] for f in runs) for key in runs[0]} for client, runs in found.items()}
    other, mine = medians.values()
    return {
        "medians": medians,
        "difference": {key: mine[key] / other[key] - 1 for key in other},
        "rounds": found,
    }


def table(found: dict[str, Any], requests: int, concurrency: int) -> str:
    """The medians side by side, as Markdown, and what explains the differences that are notable."""
    medians, difference = found["medians"], found["difference"]
    load = min(max(figures["load"] for figures in runs) for runs in found["rounds"].values())
    lines = [
        f"{date.today()}, {cpu()}, {os.cpu_count()} cores, one of them for the clients; load average {load:.1f} before "
        f"the quietest round. {len(found['rounds']['harness'])} rounds of {requests} requests of {OUTPUT} output "
        f"tokens, {concurrency} at once; medians over the rounds.",
        "",
        "| | `vllm bench serve` | harness | difference |",
        "|---|---|---|---|",
    ]
    notes = []
    for key, name in ROWS.items():
        other, mine = (medians[client][key] for client in ("vllm bench serve", "harness"))
        lines.append(f"| {name} | {other:,.4g} | {mine:,.4g} | {difference[key]:+.1%} |")
        if abs(difference[key]) > NOTABLE:
            notes.append(f"- {name}: {REASONS.get(key, 'not explained')}.")
    return "\n".join([*lines, "", *(notes or [f"No difference is over {NOTABLE:.0%}."])])


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"


def write(page: Path, text: str) -> None:
    """Put the text between the page's markers."""
    told = page.read_text(encoding="utf-8")
    before, _, rest = told.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{page} has no {BEGIN} ... {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print all figures of all rounds, and no table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the markers of this page")
    args = parser.parse_args()
    if not (BIN / "vllm").exists():
        print("vLLM is not installed: python tests/engines/install_vllm.py", file=sys.stderr)
        return 3
    found = compare(args.rounds, args.requests, args.concurrency)
    text = table(found, args.requests, args.concurrency)
    print(json.dumps(found, indent=2) if args.json else text)
    if args.write is not None:
        write(args.write, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
