"""A small mix of two kinds of agents, and what must be true of it on any engine that tells its cached tokens."""

from __future__ import annotations

import json
from typing import Any

SESSIONS = 16
_SMALL: dict[str, Any] = {"scale": "laptop", "tool_gap": "20ms", "append_tokens": 320, "output_tokens": 320}

CONFIG: dict[str, Any] = {
    "name": "agents",
    "seed": 7,
    "workload": [
        {"kind": "react", "steps": 4, **_SMALL},
        {
            "kind": "orchestrator",
            "rounds": 1,
            "children": 3,
            "steps": 3,
            "plan_tokens": 320,
            "synthesis_tokens": 320,
            "join": "quorum",
            "quorum": 0.6,
            "cancel_losers": False,
            **_SMALL,
        },
    ],
    "load": {"concurrency": 3, "sessions": SESSIONS, "workers": 1},
}


def config(backend: dict[str, Any]) -> str:
    """The whole config as JSON, which is YAML too."""
    return json.dumps(CONFIG | {"backend": backend})


def check(summary: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Nothing failed, the DAGs were played as drawn, and the session table holds cached tokens of the server's own."""
    counts = summary["counts"]
    assert counts["sessions"] == {"planned": SESSIONS, "finished": SESSIONS, "failed": 0}
    assert counts["requests"]["failed"] == 0
    assert counts["requests"]["ok"] == len(records)
    assert {record["status"] for record in records} == {"ok"}
    block = summary["sessions"]
    assert {kind["kind"] for kind in block["kinds"]} == {"react", "orchestrator"}
    for record in records:
        assert record["input_tokens"] > 0 and record["cached_tokens"] is not None
        if record["node"] == "round-1.synthesis":
            assert len(record["after"]) == 2  # a quorum of 0.6 of 3
    later = [record for record in records if record["node"].endswith("step-3")]
    assert later and all(record["cached_tokens"] > 0 for record in later)
    reuse, takes = block["prefix_reuse"], block["amplification"]
    assert 0.2 < reuse["measured"] < 1 and 0.3 < reuse["ideal"] < 1
    assert 0.3 < reuse["capture"] < 1.2
    assert takes["cached_input_tokens"] > 0 and takes["requests"] > 4
    if block["joins"]:
        assert {(row["kind"], row["fan_out"]) for row in block["joins"]} == {("orchestrator", 2)}
    print(f"prefix reuse {reuse['measured']:.3f} of {reuse['ideal']:.3f}, captured {reuse['capture']:.3f}")
