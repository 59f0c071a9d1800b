"""Is what harness tells true? One run against a server that knows, every record against what was sent for it.

    python tests/benchmarks/truth.py
    python tests/benchmarks/truth.py --streams 512 --requests 1024 --referee PATH

Requests, tokens, events and bytes must be exactly right, or it ends with 1. How far TTFT and the gaps between tokens
are off is printed. `--referee` takes another server program with the options of `mock.c` in the place of ours; a
server that does not tell bytes is asked for the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from binaries import CACHE, build
from clients.ours import Harness, records, run_folder
from comparison import Pairs, quantile, truth_figures
from ground_truth import Answer
from job import Cores, Seen, see
from scenario import Scenario
from told import Seconds

from harness.records.record import Record


def cores() -> Cores:
    """The last core for the server, the others for the client; one for both where there is only one."""
    ours = sorted(os.sched_getaffinity(0))
    return Cores(server=ours[-1], client=frozenset(ours[:-1] or ours))


def disagreements(record: Record, answer: Answer) -> Iterator[str]:
    """What of one request is not exactly as the server did it."""
    pairs = {
        "status": (record.status, "ok"),
        "output tokens": (record.output_tokens, answer.asked),
        "events with output": (record.chunks, len(answer.tokens_ns)),
        "their stamps": (len(record.chunk_us), len(answer.tokens_ns)),
        "bytes of text": (record.output_bytes, answer.text_bytes),
        "bytes received": (record.bytes_in, answer.bytes_out),
        "bytes sent": (record.bytes_out, answer.bytes_in),
    }
    for what, (told, true) in pairs.items():
        if true is not None and told != true:
            yield f"{record.id}: {what}: told {told}, true {true}"


def wrong(found: list[Record], seen: Seen) -> list[str]:
    """Everything that is not exactly right in a run."""
    true = {answer.id: answer for answer in seen.truth.streams if not answer.id.startswith("probe-")}
    problems = [f"{len(found)} records of {len(true)} requests"] if len(found) != len(true) else []
    for record in found:
        if record.id in true:
            problems.extend(disagreements(record, true[record.id]))
        else:
            problems.append(f"{record.id}: told, but never asked of the server")
    return problems


def in_us(values: Seconds) -> str:
    size = np.abs(values) * 1e6
    shown = [f"{name} {quantile(size, q):,.0f}" for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))]
    return "  ".join(shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--referee", type=Path, help="another server program in the place of ours")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--ttft-ms", type=float, default=200.0)
    parser.add_argument("--itl-ms", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
    scenario = Scenario(
        name="truth",
        title="",
        requests=wanted.requests,
        tokens=wanted.tokens,
        ttft_ms=wanted.ttft_ms,
        itl_ms=wanted.itl_ms,
        concurrency=wanted.streams,
    )
    client = Harness(workers=wanted.workers)
    seen = see(client, scenario, program=wanted.referee or build("mock"), cores=cores())
    folder = CACHE / "runs" / f"{client.name}-truth".replace(" ", "-")
    found = records(run_folder(folder, ""))
    problems = wrong(found, seen)
    pairs, true = Pairs.of(seen.told, seen.answers), truth_figures(seen.answers)
    kernel = sum(record.clock == "kernel" for record in found)
    print(f"verdict of the run   {seen.told.verdict}")
    print(f"records              {len(found)}, {kernel} stamped by the kernel")
    print(
        f"events in one read   {sum(record.coalesced for record in found)} of {sum(record.chunks for record in found)}"
    )
    print(f"live streams         mean {true['live_mean']:,.1f}, max {true['live_max']:,.0f} of {wanted.streams}")
    print(f"ttft error, us       {in_us(pairs.ttft_errors_s())}")
    print(f"itl error, us        {in_us(pairs.itl_errors_s())}")
    print(f"exactly right        {'yes' if not problems else f'NO: {len(problems)} disagreements'}")
    for problem in problems[:20]:
        print(f"  {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
