"""A box of one's own whose power a meter tells: the electricity of the run is part of its cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Cli

CONFIG = """
name: metered
backend: {kind: sim, ttft: 5ms, itl: 1ms}
workload: {kind: chat, turns: 1, output_tokens: 20, think: 0}
load: {concurrency: 4, duration: 4s, workers: 1}
telemetry: {interval: 250ms, power_command: "echo 65", cpu: false, gpu: false}
cost: {owned: {capex: 1200, pue: 1.2, kwh_price: 0.30}}
"""


def test_measured_power_is_billed(run_harness: Cli, tmp_path: Path) -> None:
    """65 W x 1.2 x 0.30 a kWh are 0.0234 an hour."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = run_harness("run", "config.yaml", "--json", "--quiet", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr  # a busy machine makes a run invalid, and rightly
    summary = json.loads(done.stdout)
    cost = summary["cost"]
    assert summary["energy"]["watts"] == pytest.approx(65, rel=0.01)
    assert cost["parts"]["electricity"] == pytest.approx(0.0234, rel=0.01)
    assert "measured power" in cost["method"]
    per_1m = 0.0234 * 1e6 / (3600 * summary["rates"]["total_tokens_per_s"])
    assert cost["electricity_per_1m_tokens"] == pytest.approx(per_1m, rel=0.01)
