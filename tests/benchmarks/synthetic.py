"""How long a million records take to be summarised, and how much memory.

    python tests/benchmarks/synthetic.py --records 1000000 --tokens 16

A short real run gives the folder and its manifest; its records are then replaced by as many as wanted, each a copy of
a real one with an id, a session and times of its own. Measured is `harness report FOLDER --format json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from binaries import CACHE, build
from clients.ours import Harness, records, run_folder
from job import see
from process_tree import watch
from scenario import Scenario
from truth import cores

from harness.records.record import Record, encode_record

_SPACING_NS = 1_000_000  # a start each millisecond


def seed_run(tokens: int) -> Path:
    """The folder of a real run of 64 answers."""
    client = Harness()
    scenario = Scenario(
        name=f"seed-{tokens}", title="", requests=64, tokens=tokens, ttft_ms=20, itl_ms=2, concurrency=64
    )
    see(client, scenario, program=build("mock"), cores=cores())
    return run_folder(CACHE / "runs" / f"{client.name}-{scenario.name}", "")


def multiply(run: Path, count: int) -> Path:
    """A folder like that of `run`, with `count` records."""
    folder = CACHE / "synthetic" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("experiment.yaml", "manifest.json"):
        shutil.copy(run / name, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["planned_sessions"] = count
    for worker in manifest["workers"]:
        worker |= {"requests": count, "sessions_started": count, "sessions_finished": count, "full_ns": 0}
        worker |= {"end_ns": count * _SPACING_NS, "dry_ns": (count - 1) * _SPACING_NS}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    models, draw = records(run), np.random.default_rng(7)
    with (folder / "records-0.jsonl").open("wb") as file:
        for index in range(count):
            file.write(encode_record(_moved(models[index % len(models)], index, draw)) + b"\n")
    return folder


def _moved(model: Record, index: int, draw: np.random.Generator) -> Record:
    """The record `model` as number `index`: moved in time, and late by a random amount."""
    start, late = index * _SPACING_NS, int(draw.exponential(5_000))
    was = model.sent_ns or 0

    def at(then: int | None) -> int | None:
        return None if then is None else then - was + start + late * 1000

    values = {name: getattr(model, name) for name in model.__struct_fields__}
    values |= {
        name: at(values[name]) for name in values if name.endswith("_ns") and name not in ("gap_ns", "connect_ns")
    }
    values |= {"intended_ns": start, "sent_ns": start, "id": f"s{index}.1", "session": f"s{index}", "phase": "measure"}
    values["chunk_us"] = [stamp + late for stamp in model.chunk_us]
    return Record(**values)


def summarise(count: int, tokens: int) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of a summary of `count` records."""
    folder = multiply(seed_run(tokens), count)
    output = folder.parent / "output.txt"
    command = [
        sys.executable,
        "-m",
        "harness",
        "report",
        folder,
        "--format",
        "json",
        "-O",
        folder.parent / "again.json",
    ]
    usage = watch([str(part) for part in command], cores=set(cores().client), output=output)
    if usage.code != 0:
        raise SystemExit(f"harness report ended with {usage.code}: {output.read_text()[-1000:]}")
    size = sum(path.stat().st_size for path in folder.glob("records-*"))
    shutil.rmtree(folder)
    return {
        "records": count,
        "tokens": tokens,
        "file_bytes": size,
        "wall_s": usage.wall_s,
        "cpu_s": usage.cpu_s,
        "peak_rss_bytes": usage.peak_rss_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=16)
    wanted = parser.parse_args()
    print(json.dumps(summarise(wanted.records, wanted.tokens)))


if __name__ == "__main__":
    main()
