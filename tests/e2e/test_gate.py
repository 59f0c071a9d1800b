"""What a gate leaves a process with: too little evidence, and every request failing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

CONFIG = """\
name: gate
backend: {kind: sim, ttft: 5ms, itl: 1ms, options: %s}
workload: {kind: chat, turns: 1, output_tokens: 4, think: 0, system_tokens: 8, input_tokens: 8}
load: {concurrency: 2, sessions: 20, error_budget: 100%%}
slo: %s
"""

Cli = Callable[..., CompletedProcess[str]]


def test_twenty_samples_decide_no_p99(run_harness: Cli, tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(CONFIG % ("[]", '["ttft.p99 < 5s"]'))
    done = run_harness("run", "few.yaml", "--json", "-q", cwd=tmp_path)
    summary = json.loads(done.stdout)
    (slo,) = summary["slo"]
    assert slo["verdict"] == "inconclusive" and "needs 299, has" in slo["reason"]
    assert done.returncode == (4 if summary["validity"]["verdict"] == "invalid" else 12)  # 4: the machine is too busy


@pytest.mark.parametrize("slo", ["[]", '["error_rate < 50%"]', '["ttft.p50 < 9s"]'])
def test_every_request_failing_is_never_a_success(run_harness: Cli, tmp_path: Path, slo: str) -> None:
    """The probe is answered (the first two requests) and nothing after it, and the config allows any error rate."""
    failing = "@" + ",".join(map(str, range(3, 100)))
    (tmp_path / "fail.yaml").write_text(CONFIG % (json.dumps(["--error-rate", failing]), slo))
    done = run_harness("run", "fail.yaml", "--json", "-q", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert summary["counts"]["requests"]["ok"] == 0
    assert summary["counts"]["requests"]["failed"] == 20
    assert done.returncode == 4


LONG = """\
name: early
backend: {kind: sim, ttft: 40ms, itl: 1ms}
workload: {kind: chat, turns: 1, output_tokens: 4, think: 0, system_tokens: 8, input_tokens: 8}
load: {concurrency: 8, duration: %s}
slo: ["ttft.p50 < %s"]
"""


@pytest.mark.parametrize(
    ("length", "limit", "code", "exit_code"),
    [("60s", "20ms abort", "aborted", 10), ("1s, max_duration: 60s", "4s", "decided", 0)],
)
def test_a_run_ends_when_it_is_clear(
    run_harness: Cli, tmp_path: Path, length: str, limit: str, code: str, exit_code: int
) -> None:
    (tmp_path / "early.yaml").write_text(LONG % (length, limit))
    done = run_harness("run", "early.yaml", "--json", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert f"{code} early" in done.stderr
    assert code in {finding["code"] for finding in summary["validity"]["findings"]}
    assert summary["run"]["duration_s"] < 50
    assert done.returncode == (4 if summary["validity"]["verdict"] == "invalid" else exit_code)
