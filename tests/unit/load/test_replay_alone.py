"""When the replay of single sessions begins: at once, or when no cap a minute remembers the load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.protocol import Target
from harness.config import Experiment
from harness.load import alone
from harness.load.messages import WorkerSpec
from harness.load.opening import endpoint_of
from harness.records.folder import RunFolder

S = 1_000_000_000


class FakeFleet:
    """Notes what it is to play, and when."""

    begins: int | None = None
    told: WorkerSpec

    def __init__(self, count: int) -> None:
        assert count == 1

    def __enter__(self) -> FakeFleet:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs."""

    def brief(self, specs: list[WorkerSpec]) -> None:
        (FakeFleet.told,) = specs

    def play(self, _on_tick: object, *, drain_s: float, at_ns: int | None) -> None:
        FakeFleet.begins = at_ns


@pytest.mark.parametrize(
    ("limits", "begins"),
    [
        ({}, None),
        ({"max_in_flight": 2}, None),
        ({"requests_per_minute": 9}, 65 * S),
        ({"tokens_per_minute": 9}, 65 * S),
    ],
)
def test_a_cap_a_minute_is_let_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], begins: int | None
) -> None:
    monkeypatch.setattr(alone, "Fleet", FakeFleet)
    monkeypatch.setattr(alone, "now_ns", lambda: 5 * S)
    asked = Experiment.model_validate(
        {"backend": {"url": "http://a/v1"}, "workload": {}, "load": {"concurrency": 3}, "limits": limits}
    )
    spec = WorkerSpec(
        experiment=asked.model_dump(mode="json"),
        shard=2,
        shards=3,
        target=Target(backend="openai", url="http://a/v1", model="m"),
        endpoint=endpoint_of(asked, asked.backend),
        run_id="run",
        records_path="",
        text_calibration={},
        run_nonce="",
    )
    folder = RunFolder.create(tmp_path, "run")
    alone.replay_alone(folder, spec, [4, 7], limit_s=60.0, watch=lambda: None, quiet=True)
    assert FakeFleet.begins == begins
    assert (FakeFleet.told.shard, FakeFleet.told.shards) == (0, 1)  # the whole cap is its own
