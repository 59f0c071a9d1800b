"""Does the open loop keep its schedule? Starts as the server saw them, against when they were due.

    python tests/benchmarks/lag.py --rate 500 --arrivals poisson --requests 5000 --workers 1 2 4

For each number of workers: how late requests were sent (as told) and arrived (in truth, less the shortest way), the
coefficient of variation of the gaps between arrivals, their lag-1 autocorrelation and the index of dispersion of
counts in 100 ms. Constant arrivals have 0 and 0; Poisson 1, 0 and 1. Ends with 1 where the schedules of the numbers of
workers are not the same.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from binaries import build
from clients.ours import Harness
from comparison import Pairs, arrival_figures, quantile
from job import see
from scenario import open_loop
from told import Seconds
from truth import cores


def spread(values: Seconds) -> str:
    shown = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return "  ".join(f"{name} {quantile(values, q):,.0f}" for name, q in shown)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--arrivals", choices=["constant", "poisson"], default="poisson")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--referee", type=Path, help="another server program in the place of ours")
    wanted = parser.parse_args()
    scenario = replace(open_loop(wanted.arrivals, wanted.requests), rate=wanted.rate)
    schedules = []
    for workers in wanted.workers:
        seen = see(Harness(workers), scenario, program=wanted.referee or build("mock"), cores=cores())
        pairs, arrivals = Pairs.of(seen.told, seen.answers), arrival_figures(seen.answers)
        schedules.append(np.sort([call.due_ns or 0 for call in pairs.calls]))
        sent, late = pairs.send_lag_s() * 1e6, pairs.lateness_s() * 1e6
        shown = "  ".join(f"{name.removeprefix('arrival_')} {value:.3f}" for name, value in arrivals.items() if value)
        print(f"{workers} workers  {seen.told.verdict}")
        print(f"  sent late, us     {spread(sent)}")
        print(f"  arrived late, us  {spread(late)}")
        print(f"  arrivals          {shown}")
    same = all(np.array_equal(schedules[0], schedule) for schedule in schedules)
    if len(schedules) > 1:
        print(f"schedules         {'the same' if same else 'NOT THE SAME'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
