"""What a client says happened, in one form for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on the client's own time axis (ns). `tokens_ns` are when it says that it saw each token."""

    id: str
    sent_ns: int
    tokens_ns: npt.NDArray[np.int64]
    due_ns: int | None = None  # when it was meant to start, in an open loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`calls` is empty where the client tells no single request by its x-request-id, only its lists of latencies.
    `load_cpu_s` is its own count of what the load cost, where it has one: exact even for a load of milliseconds.
    """

    ttft_s: Seconds
    itl_s: Seconds
    calls: Sequence[Call] = ()
    failed: int = 0
    load_cpu_s: float | None = None
    verdict: str | None = None  # of the client about its own measurement
    facts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_calls(cls, calls: Iterable[Call], **rest: object) -> Told:
        """With the latencies worked out from single requests."""
        known = list(calls)
        first = [(call.tokens_ns[0] - call.sent_ns) / 1e9 for call in known if len(call.tokens_ns)]
        gaps = [np.diff(call.tokens_ns) / 1e9 for call in known]
        return cls(
            ttft_s=np.array(first),
            itl_s=np.concatenate(gaps) if gaps else np.empty(0),
            calls=known,
            **rest,  # type: ignore[arg-type]
        )


def read_stamps(path: Path, tokens: int, output: str) -> Told:
    """What `floor.c` and the plain clients leave: `output`, whose last line is JSON with `cpu_s`, and a file of stamps.

    The stamps are of every event: role, tokens, usage, [DONE].
    """
    calls = []
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        stamps = np.array(told["stamps"], dtype=np.int64) + told["sent"]
        calls.append(
            Call(id=told["id"], sent_ns=told["sent"], due_ns=told.get("due"), tokens_ns=stamps[1 : 1 + tokens])
        )
    return Told.of_calls(calls, load_cpu_s=json.loads(output.splitlines()[-1])["cpu_s"])
