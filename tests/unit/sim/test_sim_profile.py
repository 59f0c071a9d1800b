"""Profiles: those we ship, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import assets
from harness.errors import ConfigError, UsageError
from harness.sim.engine import Engine
from harness.sim.job import Job
from harness.sim.profile import load, names, parse


def test_the_profiles_we_ship() -> None:
    assert names() == ["a100-vllm-70b-int8", "h100-vllm-8b", "instant", "laptop-llamacpp-7b-q4"]
    for name in names():
        assert load(name).name == name


@pytest.mark.parametrize("name", names())
def test_every_figure_we_ship_has_a_source(name: str) -> None:
    tree: dict[str, Any] = yaml.safe_load((assets.root() / "profiles" / f"{name}.yaml").read_text())
    for section in ("scheduler", "cache", "step", "answer"):
        for key, figure in tree.get(section, {}).items():
            assert set(figure) == {"value", "source"}, f"{section}.{key}"
            assert figure["source"].strip()


def batch_one(name: str) -> float:
    """Milliseconds a token of a request alone, with 500 tokens of prompt, without jitter."""
    engine = Engine(load(name), seed=1)
    job = Job([str(k) for k in range(500)], 200, spell=str)
    engine.submit(job)
    now, first = 0, None
    while (step := engine.begin(now)) is not None:
        now = step.end_ns
        if engine.finish() and first is None:
            first = now
    assert first is not None
    return (now - first) / 199 / 1e6


def test_the_70b_profile_takes_22_ms_a_token_at_batch_one() -> None:
    assert batch_one("a100-vllm-70b-int8") == pytest.approx(22.0, rel=0.02)


def test_instant_takes_no_time() -> None:
    assert batch_one("instant") == 0


def test_a_profile_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nmodel: m\nstep: {base: 5ms, jitter: 0.1}\ncache: {num_blocks: {value: 4096, source: assumed}}\n"
        "faults: {truncate: 0.1, stall: [3], stall_for: 2s}\n"
    )
    profile = load(str(path))
    assert profile.step.base == 0.005 and profile.cache.num_blocks == 4096
    assert profile.faults.truncate == 0.1 and profile.faults.stall == [3]


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown profile 'h100-vlm-8b'. Did you mean h100-vllm-8b\?"):
        load("h100-vlm-8b")
    with pytest.raises(UsageError, match="Known: a100"):
        load("zzz")
    with pytest.raises(UsageError, match="unknown profile"):
        load("nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a", "model"),
        ("name: a\nmodel: m\nsped: 1", "sped"),
        ("name: a\nmodel: m\nstep: {base: soon}", "soon"),
        ("name: a\nmodel: m\nscheduler: {max_num_seqs: 0}", "max_num_seqs"),
        ("name: a\nmodel: m\ncache: {num_blocks: 10}", "could never run"),
        ("[", "not YAML"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(text)
