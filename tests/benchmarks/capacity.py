"""Does `harness capacity` give the same answer twice? Searches a real llama.cpp again and again.

    python tests/benchmarks/capacity.py [--times 3] [--model model.gguf] [--json]

The server has eight slots and the SLO is on the wait for one (`ttft.p50`), a twelfth of an answer's own time: up to
eight sessions find a slot free, each further one waits an eighth of an answer. So the answer is eight, or nearly so,
however fast the machine is, while it does not change in the middle. Nothing else should run on it: where looks are
invalid the search says `undecided`, and this script says how many were.

Exits 1 where an answer is missing, or differs from the first by more than 20 %. Needs what `make engines` builds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ENGINE = Path(os.environ.get("HARNESS_CACHE") or ROOT / ".cache").absolute() / "engines" / "llama-server"
SLOTS, WITHIN = 8, 0.20
OUTPUT_TOKENS = 400


@dataclass(frozen=True)
class Answer:
    """Of one search."""

    answer: str
    holds: float | None
    confirmed: bool
    looks: int
    invalid: int
    exit_code: int


def config(model: Path, limit: str) -> dict[str, object]:
    """A closed loop of single answers of one length."""
    return {
        "name": "llama-capacity",
        "backend": {
            "kind": "llamacpp",
            "binary": str(ENGINE),
            "model": "tiny",
            "launch": {"model": str(model), "args": ["-t", "1", "-np", str(SLOTS), "-c", "32768"]},
        },
        "workload": {
            "kind": "chat",
            "turns": 1,
            "system_tokens": 8,
            "input_tokens": 16,
            "output_tokens": OUTPUT_TOKENS,
            "think": 0,
        },
        "load": {"concurrency": SLOTS // 2, "duration": "10s", "ramp": "1s", "workers": 1},
        "slo": [f"ttft.p50 < {limit}"],
    }


def pace(folder: Path, model: Path) -> float:
    """Seconds an answer takes where all slots are busy."""
    one = config(model, "1m")
    one["load"] = {"concurrency": SLOTS, "sessions": 4 * SLOTS, "workers": 1}
    summary = harness(folder, one, "run", "-q")[1]
    return float(summary["metrics"]["e2e"]["p50"])


def search(folder: Path, model: Path, limit: str, seed: int) -> Answer:
    """One search."""
    code, found = harness(folder, config(model, limit), "capacity", "-q", "-o", f"seed={seed}")
    looks = [look for probe in found["probes"] for look in probe["looks"]]
    return Answer(
        answer=found["answer"],
        holds=found["holds"],
        confirmed=found["confirmed"],
        looks=len(looks),
        invalid=sum(look["validity"] == "invalid" for look in looks),
        exit_code=code,
    )


def harness(folder: Path, wanted: dict[str, object], verb: str, *words: str) -> tuple[int, dict[str, object]]:
    """The exit code and the JSON document of a verb."""
    (folder / "config.yaml").write_text(yaml.safe_dump(wanted))
    command = [sys.executable, "-m", "harness", verb, "config.yaml", "--json", *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        sys.exit(f"harness {verb} left with {done.returncode}")
    return done.returncode, json.loads(done.stdout)


def tiny_model() -> Path:
    """The one of the tests, made where it is missing."""
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "engines" / "tiny_model.py"], capture_output=True, text=True, check=True
    )
    return Path(made.stdout.strip()) / "model.gguf"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a GGUF file; default: the tiny one of the tests")
    parser.add_argument("--json", action="store_true", help="one document at the end")
    asked = parser.parse_args()
    if not ENGINE.exists():
        parser.error(f"no {ENGINE}: make engines")
    model = asked.model or tiny_model()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds = pace(folder, model)
        limit = f"{seconds / 12 * 1000:.0f}ms"
        print(f"an answer takes {seconds:.2f} s; ttft.p50 < {limit}; load average {os.getloadavg()[0]:.1f}", flush=True)
        answers = []
        for number in range(asked.times):
            answers.append(search(folder, model, limit, seed=1000 * (number + 1)))
            print(f"{number + 1}: {answers[-1]}", flush=True)
    if asked.json:
        print(json.dumps([asdict(answer) for answer in answers]))
    first = answers[0].holds
    same = all(one.holds is not None and first and abs(one.holds / first - 1) <= WITHIN for one in answers)
    print("the same within 20 %" if same else "NOT the same within 20 %")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
