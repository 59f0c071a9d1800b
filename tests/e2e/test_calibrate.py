"""`harness calibrate`: measured for real, in small; kept; quoted by the next run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.study import calibrate as study

RUN = """\
name: calibrated
backend: {kind: sim, ttft: 5ms, itl: 1ms}
workload: {kind: chat, turns: 1, output_tokens: 16, input_tokens: 8, system_tokens: 0}
load: {concurrency: 2, sessions: 8, workers: 1}
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short calibration whose result is kept below this folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, value in {"_TOKENS": 12, "_PACE_S": 0.004, "_TTFT_S": 0.02, "_CEILING_REQUESTS": 100}.items():
        monkeypatch.setattr(study, name, value)
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["harness", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    written = capfd.readouterr()
    return int(ended.value.code or 0), written.out, written.err


def test_measured_kept_and_quoted(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capfd, "calibrate", "--streams", "4", "--json")
    assert code == 0
    found = json.loads(out)
    ceiling, (error,) = found["ceiling"], found["errors"]
    assert ceiling["events"] == 100 * 12
    assert ceiling["events_per_cpu_second"] == pytest.approx(1e6 / ceiling["cpu_us_per_event"])
    assert 0.1 < ceiling["cpu_us_per_event"] < 10_000
    assert (error["streams"], error["events"]) == (4, 8 * 12)  # a TTFT and eleven gaps for each of eight answers
    assert 0 <= error["itl_p50_us"] <= error["itl_p99_us"] < 1e6
    assert found["paced_streams_per_core"] > 0
    (kept,) = (small / "cache" / "harness").iterdir()
    assert json.loads(kept.read_text()) == found

    (small / "run.yaml").write_text(RUN)
    code, out, _ = told(capfd, "run", "run.yaml", "--json", "--quiet")
    assert code in (0, 4), out  # the machine may be busy: that is a finding of the client's
    (manifest,) = (small / "results").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["calibration"] == found


def test_told_to_people_and_not_kept(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capfd, "calibrate", "--streams", "2", "--no-keep")
    assert code == 0
    assert out == ""  # no terminal: what is for people goes to standard error
    assert "events a second for one worker's core" in err
    assert "at 2 streams" in err
    assert "kept" not in err
    assert not (small / "cache" / "harness").exists()
