"""Mixes: each session is of one workload, by weight, from (seed, index) alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import Experiment
from harness.config.load import load, resolved
from harness.errors import ConfigError
from harness.plan import make_plan
from harness.plan.explain import explain

ITEMS = [{"kind": "chat", "weight": 3, "turns": 1}, {"kind": "rag"}]


def experiment(workload: Any, **load: Any) -> Experiment:
    return Experiment.model_validate(
        {"backend": {"kind": "sim"}, "workload": workload, "load": load or {"concurrency": 1, "sessions": 2000}}
    )


def config(folder: Path, workload: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(f"backend: {{kind: sim}}\nworkload: {workload}\nload: {{concurrency: 1, sessions: 9}}\n")
    return file


def test_weights_are_shares() -> None:
    plan = make_plan(experiment(ITEMS))
    counted = Counter(plan.session(index).kind for index in range(2000))
    assert counted["chat"] / 2000 == pytest.approx(0.75, abs=0.03)
    shares = explain(plan).kinds
    assert [share.kind for share in shares] == ["chat", "rag"] and shares[0].sessions == counted["chat"] / 2000
    assert sum(share.tokens for share in shares) == sum(share.requests for share in shares) == 1


def test_items_share_neither_texts_nor_luck() -> None:
    plan = make_plan(experiment([{"turns": 1}, {"turns": 1, "weight": 1}]))
    systems = Counter(plan.session(index).nodes[0].texts[0].key for index in range(300))
    assert len(systems) == 2
    alone = make_plan(experiment([{"turns": 1}])).session(5)
    assert alone == make_plan(experiment({"turns": 1})).session(5)


def test_the_list_is_short_for_a_section_and_is_written_back(tmp_path: Path) -> None:
    short = load(config(tmp_path, "[{kind: chat, weight: 3, turns: 1}, {kind: rag}]")).experiment
    assert short.workload == experiment({"kind": "mix", "of": ITEMS}).workload
    again = tmp_path / "again.yaml"
    again.write_text(resolved(short))
    assert load(again).experiment == short
    assert make_plan(load(again).experiment).sha256 == make_plan(short).sha256


def test_run_wide_keys_are_one_for_all() -> None:
    assert experiment([{"context": "planned"}, {"kind": "rag", "context": "planned"}]).workload.context == "planned"
    for one in ({"kind": "rag"}, {"kind": "rag", "context": "live"}):
        with pytest.raises(ValueError, match="context must be the same in all items of a mix"):
            experiment([{"context": "planned"}, one])


@pytest.mark.parametrize(
    ("workload", "wanted"),
    [
        ("[{kind: chat, trns: 2}]", "workload.0.trns: unknown key. Did you mean workload.0.turns?"),
        ("[{kind: chatt}]", "workload.0.kind: unknown workload kind 'chatt'. Did you mean chat?"),
        ("[{kind: chat, weight: 0}]", "workload.0.weight: 0 is not greater than 0"),
        ("{kind: mix, of: [{width: 2}]}", "workload.of.0.width: unknown key"),
        ("{kind: chat, weight: 2}", "workload: weight means nothing outside of a mix: make workload a list"),
        ("[]", "workload: [] is not of length at least 1"),
        ("[3]", "workload.0: 3 is not a section"),
    ],
)
def test_problems_name_their_place(tmp_path: Path, workload: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config(tmp_path, workload))
    assert wanted in str(caught.value)


def test_items_can_be_overridden_and_swept(tmp_path: Path) -> None:
    file = config(tmp_path, "[{kind: chat, turns: 1}, {kind: rag}]")
    file.write_text(file.read_text() + "sweep: {workload.0.turns: [1, 2]}\n")
    loaded = load(file, ["workload.1.docs=3"]).experiment
    assert loaded.workload.model_dump()["of"][1]["docs"] == 3
    with pytest.raises(ConfigError, match=r"workload\.0\.turnz"):
        load(file, ["sweep.workload.0.turnz=[1]"])


def test_plan_shows_the_shares(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["plan", str(config(tmp_path, "[{kind: chat, turns: 1}, {kind: rag}]"))])
    assert shown.exit_code == 0
    assert "chat: " in shown.output + (shown.stderr or "") and "of tokens" in shown.output + (shown.stderr or "")
