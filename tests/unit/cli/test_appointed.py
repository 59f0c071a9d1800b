"""`--shard` and `--start-at`, as they are written and what they mean."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.cli.appointed import appointment
from harness.clock import now_ns
from harness.config import Experiment
from harness.errors import UsageError
from harness.load.appointment import Appointment
from harness.plan import Plan, make_plan
from harness.records.manifest import Manifest, ShardOf


def at(text: str) -> int:
    made = appointment(None, text)
    assert made is not None and made.shard is None and made.at_ns is not None
    return made.at_ns


def test_neither_is_no_appointment() -> None:
    assert appointment(None, None) is None


def test_an_instant_in_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_763_725_200.25)
    assert at("2025-11-21T12:00:00Z") == 1_763_726_400 * 10**9
    assert at("2025-11-21T13:00:00.5+01:00") == 1_763_726_400_500_000_000
    assert at("1763726400") == 1_763_726_400 * 10**9
    assert at("1763726400.5") == 1_763_726_400_500_000_000
    assert at("+20s") == at("+20") == 1_763_725_221 * 10**9  # the next whole second: shards of one second agree
    assert at("+1m") == 1_763_725_261 * 10**9


def test_a_shard_and_its_start() -> None:
    made = appointment("2/3", "+5s")
    assert made is not None and made.shard == ShardOf(2, 3)


@pytest.mark.parametrize(
    ("shard", "start", "said"),
    [
        ("3/3", "+5s", "there is no such shard"),
        ("1", "+5s", "not of the form i/n"),
        ("0/0", "+5s", "there is no such shard"),
        ("-1/3", "+5s", "not of the form i/n"),
        ("1/3", None, "--shard needs --start-at"),
        (None, "tomorrow", "not an instant"),
        (None, "+soon", "not a duration"),
        (None, "2026-11-21T12:00:00", "in which time zone"),
        (None, "1795274400000", "hours ahead"),
    ],
)
def test_what_cannot_be_understood(shard: str | None, start: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        appointment(shard, start)


def plan(limits: dict[str, Any] | None = None, **load: Any) -> Plan:
    asked = {"backend": {"url": "http://a/v1"}, "workload": {}, "load": load, "limits": limits or {}}
    return make_plan(Experiment.model_validate(asked))


@pytest.mark.parametrize(
    ("load", "of", "said"),
    [
        ({"rate": 5, "sessions": 3}, 4, "3 sessions cannot be divided among 4 shards"),
        ({"concurrency": 2, "sessions": 100}, 3, "2 slots .* cannot be divided among 3 shards"),
        ({"rate": 5, "limits": {"max_in_flight": 3}}, 4, "limits: a cap of 3 cannot be divided among 4 shards"),
        ({"rate": 5, "limits": {"requests_per_minute": 3.9}}, 4, "limits: a cap of 3 cannot be divided among 4 shards"),
    ],
)
def test_more_shards_than_there_is_to_do(load: dict[str, Any], of: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Appointment(shard=ShardOf(0, of), at_ns=time.time_ns() + 10**10).check(plan(**load))


def test_slots_are_divided_exactly() -> None:
    whole = plan(concurrency=11, sessions=100)
    slots = [Appointment(shard=ShardOf(index, 4)).most_workers(whole) for index in range(4)]
    assert slots == [3, 3, 3, 2]
    assert slots == [len(whole.shard(index, 4).slots()) for index in range(4)]
    assert Appointment().most_workers(whole) == 11
    assert Appointment(shard=ShardOf(1, 4)).most_workers(plan(rate=5)) is None


@pytest.mark.parametrize(
    ("limits", "load", "most"),
    [
        ({"retry": 3}, {"rate": 5}, None),
        ({"max_in_flight": 3}, {"rate": 5, "workers": 8}, 3),
        ({"max_in_flight": 300}, {"rate": 5}, 1),
        ({"max_in_flight": 300}, {"concurrency": 2, "workers": 8}, 2),
        ({"max_in_flight": 300, "requests_per_minute": 4.5}, {"rate": 5, "workers": 8}, 4),
        ({"requests_per_minute": 0.5}, {"rate": 5, "workers": 8}, 1),
        ({"tokens_per_minute": 10_000}, {"rate": 5, "workers": 8}, 1),
    ],
)
def test_never_more_workers_than_a_cap_has_room_for(
    limits: dict[str, Any], load: dict[str, Any], most: int | None
) -> None:
    assert Appointment().most_workers(plan(limits, **load)) == most


def test_a_shard_has_its_part_of_a_cap() -> None:
    whole = plan({"max_in_flight": 7}, rate=5, workers=8)
    shards = [Appointment(shard=ShardOf(index, 4)) for index in range(4)]
    assert [shard.most_workers(whole) for shard in shards] == [2, 2, 2, 1]


def test_a_shard_of_a_shard_is_a_shard() -> None:
    """Worker k of shard i of n is shard i + k n of all workers, however many each shard has."""
    whole = plan(rate=50, sessions=97)
    workers = {0: 2, 1: 1, 2: 4}
    mine = [list(whole.shard(i + 3 * k, 3 * size).indices()) for i, size in workers.items() for k in range(size)]
    assert sorted(index for indices in mine for index in indices) == list(range(97))


def test_the_start_on_the_monotonic_clock() -> None:
    assert Appointment().start_ns() is None
    start = Appointment(at_ns=time.time_ns() + 5 * 10**9).start_ns()
    assert start is not None and 0 < start - now_ns() <= 5 * 10**9
    with pytest.raises(UsageError, match=r"the start, 1970-01-01T00:00:00\.5Z, was .* ago: nothing was sent"):
        Appointment(at_ns=500_000_000).start_ns()


def test_what_the_manifest_is_told() -> None:
    whole = plan(rate=5, sessions=10)
    manifest = Manifest(run_id="r", name="n", seed=0, started_at="")
    Appointment(shard=ShardOf(1, 2), at_ns=1_763_726_400 * 10**9).note(manifest, whole)
    assert (manifest.shard, manifest.plan_sha256) == (ShardOf(1, 2), whole.sha256)
    assert manifest.clock["start_at"] == "2025-11-21T12:00:00Z"
    assert set(manifest.clock["wall"]) == {"boot", "synchronised", "max_error_s"}
    assert manifest.findings[0]["code"] == "shard"


def test_sessions_are_divided_exactly() -> None:
    whole = plan(concurrency=4, sessions=11)
    sessions = [Appointment(shard=ShardOf(index, 3)).sessions(whole) for index in range(3)]
    assert sessions == [4, 4, 3] == [len(list(whole.shard(index, 3).indices())) for index in range(3)]
    assert Appointment().sessions(whole) == 11
    assert Appointment(shard=ShardOf(1, 3)).sessions(plan(concurrency=4, duration="1s")) is None
