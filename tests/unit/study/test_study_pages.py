"""Studies told again from their folder, as pages and otherwise, also where little came of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ResultsError
from harness.judge.contrast import Ratio
from harness.judge.paired import Measured, Pair
from harness.metrics.summary import CostFigures, SloResult
from harness.study.ab import AbResult, PairRuns
from harness.study.ab_page import ab_html
from harness.study.capacity import CapacityResult, Look, Probe
from harness.study.capacity_page import capacity_html
from harness.study.files import study_file
from harness.study.stored import keep, read_study, renderers
from harness.study.sweep import Point, SweepResult
from harness.study.sweep_page import sweep_html


def measured(**more: Any) -> Measured:
    pairs = [Pair(base=0.04, candidate=0.044), Pair(base=0.04, candidate=0.046), Pair(base=None, candidate=0.04)]
    told: dict[str, Any] = {
        "term": "ttft.p50", "unit": "s", "better": "lower", "gated": True, "verdict": "regression", "pairs": pairs,
        "n": 2, "change": Ratio(value=1.118, low=1.05, high=1.19), "could_see": 0.05,
    }  # fmt: skip
    return Measured(**(told | more))


def ab(*metrics: Measured, **more: Any) -> AbResult:
    runs = [PairRuns(seed=n, first="base", base=f"r/runs/b{n}", candidate=f"r/runs/c{n}") for n in range(3)]
    told: dict[str, Any] = {
        "base": "base", "candidate": "cand", "pairs": 3, "margin": 0.03, "could_see_before": 0.1,
        "metrics": list(metrics), "runs": runs, "differences": [], "exit_code": 11,
    }  # fmt: skip
    return AbResult(**(told | more))


def point(users: int, **more: Any) -> Point:
    return Point(values={"load.concurrency": users}, experiment_sha256="", state="done", verdict="valid", **more)


def probe(load: float, held: Any, *slos: SloResult) -> Probe:
    look = Look(seed=1, length=1.0, verdict=held, reason="", validity="valid", slo=list(slos), folder="r/runs/one")
    return Probe(load=load, kind="search", verdict=held, reason="why", looks=[look])


def capacity(**more: Any) -> CapacityResult:
    told: dict[str, Any] = {
        "name": "n", "key": "load.rate", "unit": "sessions/s", "slo": ["ttft.p95 < 500ms"], "answer": "2.50 sessions/s",
    }  # fmt: skip
    return CapacityResult(**(told | more))


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_an_ab_page_shows_every_pair_and_the_margin() -> None:
    page = ab_html(ab(measured(), measured(term="rates.requests_per_s", unit="/s", better="higher", gated=False)))
    assert "✗</span> regression" in page and "+11.8 %  (+5.0 … +19.0 %)" in page
    chart = data_of(page)["scatter"]["ttft.p50"]
    assert [round(one["y"], 3) for one in chart["points"]] == [0.1, 0.15]
    assert [rule["label"] for rule in chart["rules"]] == ["same", "margin 3.00 %", "mean"]
    assert "rates.requests_per_s" not in data_of(page)["scatter"]  # advisory: in the table, not among the charts
    assert page.count('class="single"') == 4 and page.count('class="margin"') == 2
    assert "40.0 ms → 46.0 ms" in page and "c2" in page


def test_a_sweep_page_greys_what_is_dominated() -> None:
    points = [
        point(1, interactivity=90.0, output_tokens_per_s=80.0, on_speed_frontier=True, slo=["pass"]),
        point(4, interactivity=70.0, output_tokens_per_s=70.0, slo=["pass"]),
        point(8, interactivity=50.0, output_tokens_per_s=300.0, on_speed_frontier=True, slo=["fail"]),
        point(16),
    ]
    points[3].verdict = "invalid"
    result = SweepResult(name="grid", paths=["load.concurrency"], points=points, exit_code=4)
    page = sweep_html(result)
    chart = data_of(page)["scatter"]["speed"]
    assert [(one["tone"], one["name"], one["hollow"]) for one in chart["points"]] == [
        ("good", "1", False), ("plain", "4", False), ("good", "8", True),
    ]  # fmt: skip
    assert chart["joined"] and "cost" not in data_of(page)["scatter"]  # no cost is known
    assert page.count('<tr class="out">') == 2 and "4 points, 1 invalid" in page
    assert "Speed: 2 of 4 points are beaten by no other, from concurrency=1 (90.0 tokens/s to each user)" in page


def test_a_capacity_page_sets_the_slo_against_its_limit() -> None:
    slo = SloResult(expr="ttft.p95 < 500ms", verdict="pass", value=0.4, limit=0.5, ci95=(0.35, 0.45))
    bad = msgspec.structs.replace(slo, verdict="fail", value=0.7, ci95=(0.6, 0.8))
    told = capacity(
        probes=[probe(2.5, "holds", slo), probe(5.0, "fails", bad), probe(3.5, "undecided")], holds=2.5, breaks=5.0,
        cost=CostFigures(total=1.0, per_session=0.0013),
    )  # fmt: skip
    page = capacity_html(told)
    charts = data_of(page)["scatter"]
    assert [one["tone"] for one in charts["search"]["points"]] == ["good", "bad", "warn"]
    assert [(one["x"], one["y"], one["low"]) for one in charts["slo0"]["points"]] == [(2.5, 0.4, 0.35), (5.0, 0.7, 0.6)]
    assert charts["slo0"]["rules"][0] == {"label": "limit 500 ms", "tone": "warn", "x": None, "y": 0.5}
    assert "400 ms (350 … 450 ms)" in page and "$0.0013" in page


@pytest.mark.parametrize(
    "result",
    [
        ab(),
        ab(measured(change=None, verdict="unknown", pairs=[], reason="none told it"), runs=[], exit_code=4),
        SweepResult(name="n", paths=["load.rate"], points=[]),
        SweepResult(name="n", paths=["load.concurrency"], points=[point(1)]),
        capacity(),
        capacity(probes=[Probe(load=1.0, kind="search", verdict="undecided", reason="", looks=[])], exit_code=12),
    ],
    ids=["ab-nothing", "ab-unknown", "sweep-empty", "sweep-untold", "capacity-empty", "capacity-no-look"],
)
def test_what_came_to_little_is_told_too(result: Any, tmp_path: Path) -> None:
    """Of each a page, and from the folder the same page again."""
    stem = type(result).__name__.removesuffix("Result").lower()
    (tmp_path / f"{stem}.json").write_bytes(msgspec.json.encode(result))
    keep(result, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n") and (tmp_path / f"{stem}.md").is_file()
    for place in (tmp_path, tmp_path / "report.html"):
        path = study_file(place)
        assert path is not None
        found = read_study(path)
        assert found == result and renderers(found)["html"](found) == page


def test_a_folder_without_a_study_is_none_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    assert study_file(tmp_path) is None
    assert study_file(tmp_path / "nowhere") is None
    (tmp_path / "ab.json").write_text('{"schema": 1, "base": 3}')
    with pytest.raises(ResultsError, match="damaged"):
        read_study(tmp_path / "ab.json")
    (tmp_path / "ab.json").write_text('{"schema": 99}')
    with pytest.raises(ResultsError, match="schema 99"):
        read_study(tmp_path / "ab.json")
