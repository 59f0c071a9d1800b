"""The HTML pages in a real browser: quiet, alone, drawn, readable without JavaScript, safe, and fit for a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec
import pytest

from harness.judge.contrast import Ratio
from harness.judge.likeness import Difference
from harness.judge.paired import Measured, Pair
from harness.metrics.summary import CostFigures, Rates, SloResult
from harness.study.ab import AbResult, PairRuns
from harness.study.capacity import CapacityResult, Look, Probe
from harness.study.sweep import Point, SweepResult
from tests.browser import Browser, Seen, find

Cli = Callable[..., CompletedProcess[str]]

EVIL = "{{7*7}}</script><script>window.hit=1</script><img src=x onerror='window.hit=2'><a href='javascript:hit=3'>"
CONFIG = """\
name: page
backend: {kind: sim, ttft: 20ms, itl: 2ms}
workload: {kind: chat, turns: 2, output_tokens: 8, think: 0, input_tokens: {dist: lognormal, median: 60, sigma: 1}}
load: {concurrency: 4, sessions: 40}
telemetry: {interval: 100ms}
cost: {gpu_hour: 2}
slo: ["ttft.p50 < 1s"]
"""
SHAPES = [(width, dark) for width in (1280, 390) for dark in (False, True)]
PAGES = {
    "run": {"cdf", "ttft", "tpot", "output", "flight", "length", "sessions", "engine-queue", "engine-tokens"},
    "hostile": {"cdf", "ttft", "tpot", "output", "flight", "length", "sessions", "engine-queue", "engine-tokens"},
    "compare": {"cdfs-ttft", "cdfs-tpot", "cdfs-e2e", "cdfs-session.makespan"},
    "ab": {"scatter-ttft.p50"},
    "sweep": {"scatter-speed", "scatter-cost"},
    "capacity": {"scatter-search", "scatter-slo0"},
}
TABLES = "[...document.querySelectorAll('main table')].filter((t) => !t.classList.contains('u-legend'))"
# Text whose contrast to what lies behind it is under 4.5, as WCAG AA asks.
FAINT = """(() => {
  const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    const colour = element ? rgb(getComputedStyle(element).backgroundColor) : [255, 255, 255];
    return colour[3] === 0 ? behind(element.parentElement) : colour;
  };
  const told = (element) =>
    element.getClientRects().length && !(element instanceof SVGElement) &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const faint = (element) => {
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  };
  const all = [...document.querySelectorAll('body *')].filter(told);
  return all.length > 20 ? all.filter(faint).map((element) => element.textContent.slice(0, 60)) : ['too little text'];
})()"""


def ab() -> AbResult:
    pairs = [Pair(base=0.04, candidate=0.04 * ratio) for ratio in (1.1, 1.12, 1.09)]
    ttft = Measured(
        term="ttft.p50", unit="s", better="lower", gated=True, verdict="regression", pairs=pairs, n=3,
        change=Ratio(value=1.1, low=1.06, high=1.14), could_see=0.05,
    )  # fmt: skip
    return AbResult(
        base=EVIL, candidate="b", pairs=3, margin=0.03, could_see_before=0.1, metrics=[ttft], simulated=True,
        runs=[PairRuns(seed=seed, first="base", base=f"x/{EVIL}", candidate="x/b") for seed in range(3)],
        differences=[Difference(where="config", what=EVIL, base=EVIL, other=1)], notes=[EVIL], exit_code=11,
    )  # fmt: skip


def sweep() -> SweepResult:
    points = [
        Point(
            values={"load.concurrency": users, "workload.text": EVIL}, experiment_sha256="", state="done",
            verdict="valid", slo=["pass" if users < 8 else "fail"], interactivity=90.0 - users,
            output_tokens_per_s=80.0 * users, makespan_p50=1.0 + users / 8, cost_per_session=0.01 / users,
            on_speed_frontier=users != 4, on_cost_frontier=users != 4,
        )
        for users in (1, 2, 4, 8)
    ]  # fmt: skip
    points.append(
        Point(values={"load.concurrency": 16, "workload.text": ""}, experiment_sha256="", state="failed", error=EVIL)
    )
    return SweepResult(name=EVIL, paths=["load.concurrency", "workload.text"], points=points, exit_code=3)


def capacity() -> CapacityResult:
    def probe(load: float, held: Any, kind: Any = "search") -> Probe:
        value = load / 10
        slo = SloResult(
            expr="e2e.mean < 350ms", verdict="pass", value=value, limit=0.35, ci95=(value * 0.9, value * 1.1)
        )
        look = Look(seed=1, length=1.0, verdict=held, reason=EVIL, validity="valid", slo=[slo], folder=f"x/{EVIL}")
        return Probe(load=load, kind=kind, verdict=held, reason=EVIL, looks=[look])

    return CapacityResult(
        name=EVIL, key="load.concurrency", unit="sessions at once", slo=["e2e.mean < 350ms"],
        answer="3 sessions hold it (4 fail), 95 %", holds=3, breaks=4, breaks_verdict="fails", confirmed=True,
        cost=CostFigures(total=1.0, per_session=0.001), rates=Rates(output_tokens_per_s=100.0), notes=[EVIL],
        probes=[probe(2, "holds"), probe(4, "fails"), probe(3, "undecided"), probe(3, "holds", "confirm")],
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(run_harness: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind, made by the command line; all but the first hold hostile texts."""
    if find() is None:
        pytest.skip("WITHOUT a browser: make browser gets Debian's chromium; or name one in $HARNESS_BROWSER")
    place = tmp_path_factory.mktemp("pages")
    (place / "config.yaml").write_text(CONFIG)
    for name in ("a", "b"):
        done = run_harness("run", "config.yaml", "-q", "--seed", "7" if name == "a" else "8", "--out", name, cwd=place)
        assert done.returncode in (0, 4, 12), done.stderr  # other tests run beside this one
    first, second = (next((place / name).iterdir()) for name in ("a", "b"))
    evil = spoilt(first, place / "evil")
    told = {"run": first / "report.html", "hostile": evil / "report.html", "compare": place / "compare.html"}
    asked = [
        ("report", evil, "--format", "html"),
        ("compare", evil, second, "--force", "--format", "html", "-O", told["compare"]),
    ]
    for result in (ab(), sweep(), capacity()):
        kind = type(result).__name__.removesuffix("Result").lower()
        folder = place / kind
        folder.mkdir()
        (folder / f"{kind}.json").write_bytes(msgspec.json.encode(result))
        told[kind] = folder / "report.html"
        asked.append(("report", folder, "--format", "html"))
    for words in asked:
        done = run_harness(*words, cwd=place)
        assert done.returncode == 0, done.stderr
    return told


def spoilt(run: Path, place: Path) -> Path:
    """A copy of a run whose server, agents and errors speak HTML."""
    shutil.copytree(run, place)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["name"] = EVIL
    manifest["target"] |= {"model": EVIL, "engine": EVIL, "engine_version": EVIL}
    manifest["settings"] = {EVIL: EVIL}
    (place / "manifest.json").write_text(json.dumps(manifest))
    (place / "experiment.yaml").write_text((place / "experiment.yaml").read_text() + f"# {EVIL}\n")
    for path in place.glob("records-*.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            record |= {"agent": EVIL, "node": EVIL[:40] + record["node"]}
        records[-1] |= {"status": "failed", "error": "http_500", "error_detail": EVIL}
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return place


@pytest.fixture(scope="module")
def browser(pages: dict[str, Path]) -> Iterator[Browser]:
    program = find()
    assert pages and program
    with Browser(program) as running:
        yield running


def charts_of(seen: Seen) -> dict[str, int]:
    """How many pixels of each chart are painted."""
    counted: dict[str, int] = seen.ask(
        """Object.fromEntries([...document.querySelectorAll('.chart')].map((figure) => {
          const canvas = figure.querySelector('canvas');
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          let painted = 0;
          for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) painted++;
          return [figure.dataset.chart, painted];
        }))"""
    )
    return counted


def test_no_page_complains_asks_the_network_or_is_too_wide(browser: Browser, pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        for width, dark in SHAPES:
            seen = browser.open(path, width=width, dark=dark)
            where = f"{name} at {width} px, {'dark' if dark else 'light'}"
            assert seen.errors == [], where
            assert seen.requests == [path.absolute().as_uri()], where
            assert seen.ask("document.documentElement.scrollWidth - innerWidth") <= 0, where
            assert seen.ask(FAINT) == [], where


def test_every_chart_is_drawn(browser: Browser, pages: dict[str, Path]) -> None:
    for name, wanted in PAGES.items():
        drawn = charts_of(browser.open(pages[name]))
        assert wanted <= set(drawn), name
        assert all(painted > 1000 for painted in drawn.values()), (name, drawn)


def test_tables_are_whole_without_javascript(browser: Browser, pages: dict[str, Path]) -> None:
    """Nothing but the charts is missing, and no empty frame stands in their place."""
    for name, path in pages.items():
        told = [
            browser.open(path, scripts=scripts).ask(f"{TABLES}.map((t) => t.innerText)") for scripts in (True, False)
        ]
        assert told[0] == told[1] and told[0], name
        bare = browser.open(path, scripts=False)
        assert bare.ask("[...document.querySelectorAll('.chart')].every((f) => f.getClientRects().length === 0)"), name
        assert bare.ask("document.querySelectorAll('.chart').length") >= len(PAGES[name]), name
        bare.ask("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        assert bare.ask(f"{TABLES}.every((t) => t.caption && t.getBoundingClientRect().height > 0)"), name


def test_hostile_text_does_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        if name == "run":
            continue
        seen = browser.open(path)
        assert "onerror=" in path.read_text(encoding="utf-8") and "{{7*7}}" in seen.ask("document.body.innerText"), name
        assert seen.ask("window.hit === undefined && document.images.length === 0"), name
        assert seen.ask("[...document.links].every((a) => a.getAttribute('href').startsWith('#'))"), name
        assert seen.ask("document.scripts.length") == 4, name


def test_the_first_tab_offers_to_skip_to_the_figures(browser: Browser, pages: dict[str, Path]) -> None:
    seen = browser.open(pages["run"])
    seen.press("Tab")
    assert seen.ask("document.activeElement.className") == "skip"
    assert seen.ask("document.activeElement.getBoundingClientRect().left") >= 0
    targets = seen.ask("[...document.links].map((a) => a.getAttribute('href').slice(1))")
    assert all(seen.ask(f"document.getElementById({json.dumps(target)}) !== null") for target in targets)
