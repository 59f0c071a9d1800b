"""The plan: whole, divisible without a coordinator, and with a hash that means the same load."""

# ruff: noqa: E501 (messages are compared whole, each case in one line)

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.asked import PLANNED_LOAD
from harness.cli.app import app
from harness.config import Experiment, LoadConfig
from harness.errors import ConfigError, UsageError
from harness.judge.likeness import between_loads
from harness.plan import Plan, make_plan
from harness.plan import plan as plan_module
from harness.plan.explain import explain

S = 1_000_000_000
QUICK = {"kind": "chat", "turns": {"dist": "geometric", "mean": 2, "max": 5}}


def experiment(load: dict[str, Any], **sections: Any) -> Experiment:
    return Experiment.model_validate(
        {"backend": {"kind": "sim"}, "workload": QUICK, "seed": 7, **sections, "load": load}
    )


def plan(load: dict[str, Any], **sections: Any) -> Plan:
    return make_plan(experiment(load, **sections))


# shape


def test_open_by_duration() -> None:
    made = plan({"rate": 100, "arrivals": "constant", "ramp": "2s", "warmup": "3s", "duration": "10s"})
    assert (made.ramp_ns, made.warmup_ns, made.start_limit_ns) == (2 * S, 3 * S, 15 * S)
    assert made.arrivals_ns is not None and made.slots_ns is None
    assert made.sessions == len(made.arrivals_ns) == 1400  # the ramp has half the arrivals
    assert made.warmup_sessions == 0
    assert made.arrivals_ns[0] >= 0 and made.arrivals_ns[-1] < 15 * S


def test_open_by_count_and_by_whichever_is_first() -> None:
    counted = plan({"rate": 10, "warmup": 5, "sessions": 20})
    assert (counted.sessions, counted.warmup_sessions, counted.start_limit_ns) == (25, 5, None)
    assert plan({"rate": 10, "arrivals": "constant", "sessions": 20, "duration": "1s"}).sessions == 10
    assert plan({"rate": 10, "arrivals": "constant", "sessions": 5, "duration": "1s"}).sessions == 5


def test_closed() -> None:
    made = plan({"concurrency": 8, "ramp": "4s", "warmup": 10, "sessions": 100})
    assert made.arrivals_ns is None and made.slots_ns is not None
    assert made.sessions == 110 and made.start_limit_ns is None
    assert (made.slots_ns // (S // 2) == np.arange(8)).all()
    timed = plan({"concurrency": 8, "warmup": "2s", "duration": "30s"})
    assert timed.sessions is None and timed.start_limit_ns == 32 * S
    assert timed.slots_ns is not None and not timed.slots_ns.any()
    assert plan({"concurrency": 8}).start_limit_ns == 60 * S


@pytest.mark.parametrize(
    "load",
    [
        {"rate": 10, "arrivals": "constant"},
        {"rate": 40, "arrivals": "poisson", "ramp": "3s"},
        {"rate": 3000, "arrivals": "gamma", "cv": 2},  # more arrivals than are drawn at once
    ],
)
def test_what_arrives_in_a_timed_warmup_comes_on_top_of_the_count(load: dict[str, Any]) -> None:
    made = plan({**load, "warmup": "2s", "sessions": 50})
    assert made.arrivals_ns is not None and made.sessions == len(made.arrivals_ns) > 60
    assert (made.arrivals_ns >= made.warm_ns).sum() == 50
    longer = plan({**load, "warmup": "2s", "sessions": 51}).arrivals_ns
    assert longer is not None and (longer[:-1] == made.arrivals_ns).all()
    told = explain(made)
    assert told.duration_s == pytest.approx(made.arrivals_ns[-1] / S)
    assert explain(plan({**load, "warmup": "2s", "sessions": 50, "duration": "9m"})).duration_s == told.duration_s


def test_a_closed_loop_counts_from_the_end_of_a_timed_warmup_on() -> None:
    made = plan({"concurrency": 4, "warmup": "2s", "sessions": 50})
    assert (made.sessions, made.counted) == (None, 50)
    assert [made.shard(index, 3).counted for index in range(3)] == [17, 17, 16]
    assert made.sha256 != plan({"concurrency": 4, "warmup": "2s", "sessions": 51}).sha256
    with pytest.raises(UsageError, match="50 sessions cannot be divided among 51"):
        plan({"concurrency": 64, "warmup": "2s", "sessions": 50}).check_divisible(51)
    for load in ({"concurrency": 4, "warmup": 2, "sessions": 50}, {"concurrency": 4, "warmup": "2s"}):
        assert plan(load).counted is plan(load).shard(0, 2).counted is None


def test_trace(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.txt"
    file.write_text("# seconds\n0\n\n1.5\n4\n")
    made = plan({"arrivals": "trace", "trace": str(file), "time_scale": 2, "sessions": 2})
    assert made.arrivals_ns is not None and list(made.arrivals_ns) == [0, 3 * S]
    for text, problem in (("1\nx\n", "arrivals.txt:2: 'x' is not a number of seconds"), ("2\n1\n", "in order")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=problem):
            plan({"arrivals": "trace", "trace": str(file)})
    with pytest.raises(ConfigError, match="cannot read"):
        plan({"arrivals": "trace", "trace": str(tmp_path / "none")})


def test_absurd_rates_are_told_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.arrivals.MOST", 10_000)
    with pytest.raises(ConfigError, match="more than 10,000 arrivals"):
        plan({"rate": 1e6})


def test_a_plan_cannot_be_changed() -> None:
    made = plan({"rate": 10})
    assert made.arrivals_ns is not None
    with pytest.raises(ValueError, match="read-only"):
        made.arrivals_ns[0] = 3
    with pytest.raises(AttributeError):
        made.sessions = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(made)).sha256 == made.sha256


# shards


@given(st.integers(1, 9), st.integers(1, 40))
def test_shards_are_the_whole_each_session_once(count: int, sessions: int) -> None:
    made = plan({"rate": 10, "sessions": sessions})
    assert made.arrivals_ns is not None
    shards = [made.shard(index, count) for index in range(count)]
    arrivals = sorted(arrival for shard in shards for arrival in shard.arrivals())
    assert arrivals == list(zip(map(int, made.arrivals_ns), range(sessions), strict=True))
    assert sorted(index for shard in shards for index in shard.indices()) == list(range(sessions))
    assert all(index % count == shard.index for shard in shards for _, index in shard.arrivals())
    assert all(shard.slots() == [] for shard in shards)


@given(st.integers(1, 9), st.integers(1, 40))
def test_slots_are_dealt_out(count: int, concurrency: int) -> None:
    made = plan({"concurrency": concurrency, "ramp": "1s"})
    assert made.slots_ns is not None
    shards = [made.shard(index, count) for index in range(count)]
    assert sorted(start for shard in shards for start in shard.slots()) == list(map(int, made.slots_ns))
    sizes = [len(shard.slots()) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert all(list(shard.arrivals()) == [] for shard in shards)
    assert list(islice(made.shard(count - 1, count).indices(), 3)) == [count - 1, 2 * count - 1, 3 * count - 1]


def test_no_such_shard() -> None:
    with pytest.raises(ValueError, match="no shard 2 of 2"):
        plan({"rate": 1}).shard(2, 2)


# hash

BASE: dict[str, Any] = {"rate": 10, "sessions": 50}


def test_hash_is_a_function_of_what_is_asked_and_when() -> None:
    wanted = plan(BASE).sha256
    assert plan(BASE).sha256 == wanted
    same = [
        plan(BASE, name="other"),
        plan(BASE, backend={"kind": "openai", "url": "http://elsewhere/v1", "api_key": "env:X"}),
        plan({**BASE, "workers": 7, "timeout": "9s", "wire": "httpx", "drain": 1, "error_budget": 0.5}),
        plan(BASE, slo=["ttft.p95 < 1s"], limits={"max_in_flight": 3}),
    ]
    assert {made.sha256 for made in same} == {wanted}
    other = [
        plan(BASE, seed=8),
        plan({**BASE, "rate": 11}),
        plan({**BASE, "sessions": 51}),
        plan({**BASE, "warmup": 1, "sessions": 49}),
        plan({**BASE, "ramp": "1s"}),
        plan({**BASE, "arrivals": "gamma", "cv": 2}),
        plan(BASE, workload={**QUICK, "output_tokens": 9}),
        plan({"concurrency": 10, "sessions": 50}),
        plan({"concurrency": 11, "sessions": 50}),
        plan({"concurrency": 10}),
    ]
    assert len({wanted, *(made.sha256 for made in other)}) == len(other) + 1


def test_the_hash_and_a_comparison_take_the_same_keys_of_load(tmp_path: Path) -> None:
    """A trace is what it holds, not what its file is called."""
    assert set(PLANNED_LOAD) <= set(LoadConfig.model_fields)
    for key in PLANNED_LOAD:
        (found,) = between_loads({"load": {key: "a"}}, {"load": {key: "b"}})
        assert found.what == f"load.{key}"
    traces = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in traces:
        file.write_text("0\n1\n")
    assert len({plan({"arrivals": "trace", "trace": str(file)}).sha256 for file in traces}) == 1
    short, long = ({"rate": 10, "duration": "10s"}, {"rate": 10, "duration": "10s", "max_duration": "20s"})
    assert plan(short).sha256 != plan(long).sha256


def test_hash_does_not_depend_on_what_was_looked_at_before() -> None:
    made = plan(BASE)
    for index in (40, 3, 17):
        made.session(index)
    list(made.shard(1, 3).arrivals())
    assert made.sha256 == plan(BASE).sha256


def test_hash_is_the_same_in_another_process() -> None:
    script = (
        "from harness.config import Experiment; from harness.plan import make_plan\n"
        f"print(make_plan(Experiment.model_validate({experiment(BASE).model_dump(mode='json')!r})).sha256)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "5"}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == plan(BASE).sha256


def test_many_sessions_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan({"concurrency": 1, "sessions": 1000})
    assert made.sampled(10, 3) == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]
    assert made.sampled(1000, 3) == list(range(1000))
    assert plan({"concurrency": 1}).sampled(10, 3) == [0, 1, 2]
    whole = made.sha256
    monkeypatch.setattr(plan_module, "HASHED_SESSIONS", 10)
    assert plan({"concurrency": 1, "sessions": 1000}).sha256 != whole


# explanation


def test_explanation_adds_up() -> None:
    made = plan(
        {"rate": 10, "warmup": 5, "sessions": 45}, cost={"price": {"input": 2, "output": 10, "cached_input": 1}}
    )
    told = explain(made)
    nodes = [node for index in range(50) for node in made.session(index).nodes]
    assert told.sessions == told.looked_at == 50
    assert told.requests == len(nodes)
    assert told.input_tokens == sum(node.input_tokens for node in nodes)
    assert told.output_tokens == sum(node.output_tokens for node in nodes)
    assert told.longest_prompt == max(node.input_tokens for node in nodes)
    assert told.requests_per_session == pytest.approx(len(nodes) / 50)
    assert told.cost_ceiling == pytest.approx((2 * told.input_tokens + 10 * told.output_tokens) / 1e6)
    assert told.per_hour is told.hardware_cost is None
    assert made.arrivals_ns is not None and told.duration_s == pytest.approx(made.arrivals_ns[-1] / S)
    assert [start.session for start in told.first] == [f"s{index:07d}" for index in range(10)]
    assert told.first[3].at_s == pytest.approx(made.arrivals_ns[3] / S)
    assert told.plan_sha256 == made.sha256


def test_explanation_of_what_only_time_bounds() -> None:
    told = explain(plan({"concurrency": 3, "duration": "30m"}, cost={"gpu_hour": 4, "gpus": 2}))
    assert told.sessions is told.requests is told.input_tokens is told.output_tokens is told.cost_ceiling is None
    assert told.duration_s == 1800 and told.hardware_cost == pytest.approx(4.0)
    assert told.requests_per_session is not None and told.requests_per_session > 1
    assert len(told.first) == 3
    unbounded = explain(plan({"concurrency": 3, "sessions": 9}, cost={"gpu_hour": 4}))
    assert unbounded.duration_s is None and unbounded.hardware_cost is None and unbounded.per_hour == 4
    price = {"price": {"input": 1, "output": 1}}
    by_price = explain(plan({"concurrency": 3}, cost=price))
    assert by_price.cost_ceiling is None and by_price.session_cost_ceiling == pytest.approx(
        (by_price.input_tokens_per_session + by_price.output_tokens_per_session) / 1e6
    )


def test_the_cost_of_an_owned_box_is_bounded_by_the_duration() -> None:
    """8,760 over a year without interest is 1 an hour, 0.5 kW x 1.2 x 0.5 another 0.3: 0.65 for half an hour. Without
    its power it is 0.5."""
    owned = {"capex": 8760, "life_years": 1, "interest": 0, "pue": 1.2, "kwh_price": 0.5}
    told = explain(plan({"concurrency": 3, "duration": "30m"}, cost={"owned": owned | {"kw": 0.5}}))
    assert (told.per_hour, told.hardware_cost) == pytest.approx((1.3, 0.65))
    assert explain(plan({"rate": 1, "duration": "30m"}, cost={"owned": owned})).hardware_cost < 0.5 + 1e-9


def test_explanation_scales_up_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = explain(plan({"concurrency": 3, "sessions": 4000}))
    monkeypatch.setattr("harness.plan.explain.LOOKED_AT", 1000)
    scaled = explain(plan({"concurrency": 3, "sessions": 4000}))
    assert scaled.looked_at == 1000 and scaled.sessions == 4000
    assert scaled.requests == pytest.approx(exact.requests, rel=0.1)


def test_no_arrival_at_all() -> None:
    told = explain(plan({"rate": "1/h", "duration": "1ms"}))
    assert (told.sessions, told.requests, told.requests_per_session, told.longest_prompt, told.first) == (
        0,
        0,
        None,
        None,
        [],
    )


@pytest.mark.parametrize(
    ("load", "words", "stop"),
    [
        ({"concurrency": 4, "ramp": "2s", "sessions": 9}, "closed loop: 4 sessions live at any time, started over 2.00 s", "9 sessions"),
        ({"rate": 4}, "partly open loop: 4.00 sessions arrive a second (poisson)", "60.0 s"),
        (
            {"rate": 4, "arrivals": "gamma", "cv": 3, "ramp": 1, "sessions": 9, "duration": "5s", "warmup": 3},
            "partly open loop: 4.00 sessions arrive a second (gamma, cv 3), rising over the first 1.00 s",
            "9 sessions or 5.00 s, whichever is first, after 3 sessions of warm-up",
        ),
        ({"rate": 4, "warmup": "3s"}, "partly open loop: 4.00 sessions arrive a second (poisson)", "60.0 s, after 3.00 s of warm-up"),
    ],
)  # fmt: skip
def test_words(load: dict[str, Any], words: str, stop: str) -> None:
    told = explain(plan(load))
    assert (told.load, told.stop) == (words, stop)


def test_words_of_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("0\n1\n")
    told = explain(plan({"arrivals": "trace", "trace": str(file), "time_scale": 0.5}))
    assert told.load == f"partly open loop: sessions arrive as in {file}, time × 0.5"


# the verb


def test_harness_plan_as_json() -> None:
    result = CliRunner().invoke(app, ["plan", "quickstart", "--json", "-o", "load.rate=20/s", "--seed", "3"])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["seed"] == 3 and told["load"].startswith("partly open loop: 20")
    assert len(told["plan_sha256"]) == 64


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ([], ["a session", "first arrivals", "until the last session starts ($2.00 an hour", "harness run quickstart"]),
        (["load.rate=", "load.arrivals=", "load.concurrency=2"], ["as many as the time allows", "at most 25.0 s", "first sessions"]),
        (["load.rate=", "load.arrivals=", "load.concurrency=2", "load.duration=", "load.sessions=5"], ["ends with the sessions", "5, and as many before as the time of the warm-up allows"]),
        (["cost={price: {input: 1, output: 2}}"], ["at most $", "if no input is cached"]),
        (["cost={owned: {capex: 1200, kw: 0.065, kwh_price: 0.3}}"], ["($0.0667 an hour of the hardware)"]),
        (["cost={owned: {capex: 1200, kwh_price: 0.3}}"], ["($0.0414 an hour of the hardware, without electricity)"]),
        (["load.rate=2000/s"], ["sessions spread evenly"]),
    ],
)  # fmt: skip
def test_harness_plan_for_people(overrides: list[str], wanted: list[str]) -> None:
    options = [word for override in overrides for word in ("-o", override)]
    result = CliRunner().invoke(app, ["plan", "quickstart", *options])
    assert result.exit_code == 0
    assert result.stdout == ""  # not a terminal: for people goes to stderr
    for text in wanted:
        assert text in result.stderr
    assert "\x1b" not in result.stderr


def test_harness_plan_needs_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "backend: {url: 'http://h/v1', api_key: env:HARNESS_T_NONE}\nworkload: {}\nload: {rate: 1, sessions: 2}\n"
    )
    assert CliRunner().invoke(app, ["plan", str(file)]).exit_code == 0
    file.write_text("load: {rat: 1}")
    result = CliRunner().invoke(app, ["plan", str(file)])
    assert isinstance(result.exception, ConfigError)
