"""What the closing hint asks for: enough for every undecided SLO, in the terms in which the run ends."""

from __future__ import annotations

from typing import Any

import pytest

from harness.metrics.summary import RunInfo, SloResult, Summary
from harness.report.longer import longer, options


def unsure(expr: str = "ttft.p95 < 1s", **more: Any) -> SloResult:
    return SloResult(expr=expr, verdict="inconclusive", **more)


WIDE = unsure(value=0.9, limit=1.0, ci95=(0.7, 1.1))  # twice too wide: four times the sample
FEW = unsure(reason="too few samples: needs 59, has 10")
CORRELATED = unsure(value=0.1, limit=1.0, reason="needs 73 independent samples for an interval, has 20; 3 of 99 failed")
NOTHING_SEEN = unsure("error_rate < 1%", value=0.0, limit=0.01, ci95=(0.0, 0.018))
UNMEASURED = unsure("energy.joules < 1", reason="not measured")
HELD = SloResult(expr="tpot.p50 < 1s", verdict="pass", value=0.1, limit=1.0, ci95=(0.01, 9.0))


@pytest.mark.parametrize(
    ("slo", "seconds"),
    [
        ([WIDE], 100),
        ([FEW], 150),
        ([CORRELATED], 92),
        ([NOTHING_SEEN], 45),
        ([NOTHING_SEEN, FEW, WIDE, HELD], 150),  # the one that needs most
        ([UNMEASURED], 100),
        ([unsure(value=1.0, limit=1.0, ci95=(0.9, 1.1))], 1000),  # at the limit: no length decides it
    ],
)
def test_the_length(slo: list[SloResult], seconds: int) -> None:
    summary = Summary(run=RunInfo(duration_s=20.0), slo=slo)
    assert longer(summary, {"duration": 20.0}) == [f"load.duration={seconds}s"]


@pytest.mark.parametrize(
    ("load", "told"),
    [
        ({"sessions": 48}, "-o load.sessions=240"),
        ({"sessions": 48, "duration": 20.0}, "-o load.sessions=240 -o load.duration=100s"),
        ({}, "-o load.duration=100s"),
    ],
)
def test_whatever_ends_the_run_is_made_longer(load: dict[str, Any], told: str) -> None:
    assert options(longer(Summary(run=RunInfo(duration_s=20.0), slo=[WIDE]), load)) == told
