"""Make the example reports that the documents link to.

    python results/examples/make.py [NAME ...]        default: all; three minutes on a quiet machine

Each is a real run of the command line in a folder of its own that is thrown away afterwards; only the page stays, here.
chat-llamacpp.html needs llama-server (`make engines`); the others ask the simulated engine. A busy machine makes runs
invalid: then they are made again, a few times. Exits 1 where one could not be made.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute()
TRIES = 6
MOST_BYTES = 300_000

CHAT = """\
name: chat-on-llamacpp
seed: 7
backend:
  kind: llamacpp
  launch: {model: model.gguf, args: ["--parallel", "4", "--ctx-size", "16384", "--threads", "1"]}
workload:
  kind: chat
  turns: 2
  system_tokens: 100
  input_tokens: {dist: lognormal, median: 60, sigma: 0.8, max: 400}
  output_tokens: {dist: lognormal, median: 60, sigma: 0.5, max: 150}
  think: {dist: lognormal, median: 100ms, sigma: 0.5, max: 500ms}
load: {concurrency: 4, warmup: 8, sessions: 160, workers: 1}
telemetry: {interval: 200ms}
slo: ["ttft.p95 < 500ms", "tpot.p95 < 50ms", "error_rate < 5%"]
cost: {gpu_hour: 0.10}
"""
ORCHESTRATOR = """\
name: orchestrator
seed: 7
backend: {kind: sim, profile: h100-vllm-8b}
workload:
  kind: orchestrator
  scale: lab
  rounds: 1
  children: 4
  steps: {dist: uniform, min: 2, max: 5}
  tool_gap: {dist: lognormal, median: 150ms, sigma: 1.0, max: 1s}
load: {concurrency: 4, warmup: 4, sessions: 40}
telemetry: {interval: 200ms}
slo: ["ttft.p95 < 500ms", "session.makespan.p50 < 20s"]
cost: {gpu_hour: 2.50, as_of: "2026-11"}
"""
FAULTS = """\
name: faults
seed: 7
backend:
  kind: sim
  ttft: 40ms
  itl: 5ms
  options: ["--error-rate", "6%", "--truncate", "3%", "--empty", "2%", "--midstream-error", "2%"]
workload: {kind: chat, turns: 2, output_tokens: 24, think: 0, input_tokens: {dist: lognormal, median: 60, sigma: 1}}
load: {concurrency: 6, warmup: 6, sessions: 160}
slo: ["ttft.p95 < 200ms", "error_rate < 1%"]
"""
PACE = """\
name: {name}
seed: 7
backend: {{kind: sim, ttft: {ttft}ms, itl: {itl}ms}}
workload: {{kind: chat, turns: 1, output_tokens: 24, think: 0, input_tokens: {{dist: lognormal, median: 60, sigma: 1}}}}
load: {{concurrency: 4, sessions: {sessions}}}
cost: {{gpu_hour: 2.50}}
"""
SLOTS = "name: slots\nmodel: slots\nscheduler: {max_num_seqs: 8}\nstep: {base: 20ms}\n"
CAPACITY = """\
name: eight-slots
seed: 7
backend: {kind: sim, profile: slots.yaml}
workload: {kind: chat, turns: 1, output_tokens: 10, think: 0, system_tokens: 0, input_tokens: 8}
load: {concurrency: 4, duration: 4s}
slo: ["e2e.mean < 350ms", "error_rate < 5%"]
cost: {gpu_hour: 2.50}
"""
SWEEP = """\
name: users-and-lengths
seed: 7
backend: {kind: sim, profile: h100-vllm-8b}
workload: {kind: chat, turns: 1, output_tokens: 40, think: 0, input_tokens: {dist: lognormal, median: 200, sigma: 0.8}}
load: {concurrency: 1, duration: 3s}
slo: ["ttft.p50 < 100ms"]
cost: {gpu_hour: 2.50}
sweep: {load.concurrency: [1, 2, 4, 8, 16, 32], workload.output_tokens: [20, 60]}
"""


class Failed(Exception):
    """An example could not be made."""


def harness(place: Path, *words: str) -> int:
    """One call of the command line in `place`; its exit code."""
    model, server = CACHE / "engines" / "llama-server", os.environ.get("LLAMA_SERVER")
    plain = os.environ | {"NO_COLOR": "1", "LLAMA_SERVER": server or str(model)}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=place, env=plain, capture_output=True, text=True, check=False
    )
    if done.returncode in (1, 2, 3):
        raise Failed(f"harness {' '.join(words)}: {done.stderr.strip()[-600:]}")
    return done.returncode


def ran(place: Path, name: str, config: str, invalid: bool = False) -> Path:
    """The folder of a run whose verdict is as wanted."""
    (place / f"{name}.yaml").write_text(config)
    for _ in range(TRIES):
        harness(place, "run", f"{name}.yaml", "--quiet")
        (folder,) = (place / "results").glob(f"*-{name_of(config)}-*")
        validity = json.loads((folder / "summary.json").read_text())["validity"]
        codes = {finding["code"] for finding in validity["findings"] if finding["severity"] == "error"}
        if codes <= {"error_rate"} and (validity["verdict"] == "invalid") == invalid:
            bare(folder)
            return folder
        print(f"  {name}: {validity['verdict']} ({', '.join(sorted(codes))}): again", flush=True)
        shutil.rmtree(folder)
    raise Failed(f"{name}: this machine is too busy")


def name_of(config: str) -> str:
    """The name of a run, from its config."""
    return config.partition("name: ")[2].partition("\n")[0]


def bare(folder: Path) -> None:
    """Of the machine only what matters to the figures stays in the page."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["machine"] |= {"system": platform.system()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def page(place: Path, folder: Path) -> Path:
    """The page of a run, told again."""
    harness(place, "report", str(folder.relative_to(place)), "--format", "html")
    return folder / "report.html"


def chat(place: Path) -> Path:
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "engines" / "tiny_model.py"], capture_output=True, text=True, check=True
    )
    (place / "model.gguf").symlink_to(Path(made.stdout.strip()) / "model.gguf")
    return page(place, ran(place, "chat", CHAT))


def orchestrator(place: Path) -> Path:
    return page(place, ran(place, "orchestrator", ORCHESTRATOR))


def faults(place: Path) -> Path:
    return page(place, ran(place, "faults", FAULTS, invalid=True))


def compare(place: Path) -> Path:
    runs = [
        ran(place, name, PACE.format(name=name, ttft=ttft, itl=itl, sessions=240))
        for name, ttft, itl in (("base", 40, 4), ("batched", 46, 3.5))
    ]
    harness(place, "compare", *(str(run.relative_to(place)) for run in runs), "--format", "html", "-O", "compare.html")
    return place / "compare.html"


def ab(place: Path) -> Path:
    for name, ttft in (("base", 40), ("candidate", 43)):
        (place / f"{name}.yaml").write_text(PACE.format(name=name, ttft=ttft, itl=4, sessions=80))
    return study(place, {0, 11, 12}, "ab", "base.yaml", "candidate.yaml", "--pairs", "8")


def sweep(place: Path) -> Path:
    """Points whose run is invalid are run again; the others are kept, as whenever a sweep is called again."""
    (place / "sweep.yaml").write_text(SWEEP)
    for _ in range(TRIES):
        code = harness(place, "sweep", "sweep.yaml", "--quiet", "--into", "results")
        if code == 0:
            return place / "results" / "report.html"
        points = json.loads((place / "results" / "sweep.json").read_text())["points"]
        invalid = [point["folder"] for point in points if point["verdict"] == "invalid"]
        print(f"  sweep: {len(invalid)} invalid points: again", flush=True)
        for folder in invalid:
            shutil.rmtree(place / folder)
    raise Failed("sweep: this machine is too busy")


def capacity(place: Path) -> Path:
    (place / "slots.yaml").write_text(SLOTS)
    (place / "capacity.yaml").write_text(CAPACITY)
    return study(place, {0}, "capacity", "capacity.yaml")


def study(place: Path, wanted: set[int], *words: str) -> Path:
    """The page of a study that ended with one of these codes."""
    for _ in range(TRIES):
        code = harness(place, *words, "--quiet")
        if code in wanted:
            return next((place / "results").glob("*/report.html"))
        shutil.rmtree(place / "results")
        print(f"  {words[0]}: exit {code}: again", flush=True)
    raise Failed(f"{words[0]}: this machine is too busy")


def keep(made: Path, name: str, place: Path) -> None:
    """Copy the page here, if it tells nothing of who made it where, and is small."""
    text = made.read_text(encoding="utf-8")
    private = {str(place), str(Path.home()), str(ROOT), str(CACHE), platform.node()} - {"/", ""}
    if getpass.getuser() != "root":
        private.add(getpass.getuser())
    found = [word for word in private if word in text]
    if found or len(text.encode()) > MOST_BYTES:
        raise Failed(f"{name}: holds {', '.join(found)}" if found else f"{name}: {len(text.encode()):,} bytes")
    shutil.copy(made, HERE / f"{name}.html")
    print(f"{name}.html: {len(text.encode()):,} bytes", flush=True)


EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "chat-llamacpp": chat,
    "orchestrator": orchestrator,
    "faults": faults,
    "compare": compare,
    "ab": ab,
    "sweep": sweep,
    "capacity": capacity,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*EXAMPLES, []], help="which; default: all")
    failed = 0
    for name in parser.parse_args().names or EXAMPLES:
        with tempfile.TemporaryDirectory(prefix="example-") as folder:
            place = Path(folder).resolve()
            try:
                keep(EXAMPLES[name](place), name, place)
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
