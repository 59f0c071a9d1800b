"""Runs side by side and against baselines, on records made by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness.errors import ExpressionError, ResultsError, UsageError
from harness.judge.comparison import Comparison, Row, compare, side_by_side, superiority
from harness.judge.contrast import Ratio
from harness.judge.expression import parse_all
from harness.judge.regression import DRIFT, GateReport, judge
from harness.judge.subject import Subject, open_subject, store
from harness.judge.term import term
from harness.metrics.classic import ClassicRow
from harness.metrics.summary import Validity, to_json
from harness.records import manifest as manifests
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.records.record import Record, encode_record
from harness.report import comparison as telling
from harness.report import gate as gate_telling
from harness.report.classic import classic as classic_cells
from harness.report.classic import classic_note

MS = 1_000_000
CONFIG: dict[str, Any] = {
    "name": "n",
    "seed": 1,
    "backend": {"kind": "openai", "url": "http://127.0.0.1:1/v1", "body": {}},
    "workload": {"kind": "chat", "turns": 1},
    "load": {"rate": 10.0, "error_budget": 1.0},
}

Make = Callable[..., Subject]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run on disk whose ttfts are normal around `ttft` ms."""

    def make(
        name: str,
        ttft: float,
        n: int = 400,
        *,
        config: dict[str, Any] | None = None,
        machine: str = "cpu",
        plan: str = "p",
        seed: int = 1,
        failed: int = 0,
    ) -> Subject:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.experiment.write_text(yaml.safe_dump(CONFIG | {"seed": seed} | (config or {})))
        facts = Manifest(
            run_id=name,
            name=name,
            seed=seed,
            started_at="",
            ended_at="x",
            plan_sha256=plan,
            machine={"processor": machine, "cores": 4},
            target={"backend": "openai", "engine": "e", "engine_version": "1", "model": "m"},
        )
        folder.write_manifest(facts)
        assert folder.manifest.read_bytes() == manifests.to_json(facts) + b"\n"
        draws = np.random.default_rng(len(name)).normal(ttft, ttft / 15, n)
        records = [request(index, float(draw), index >= n - failed) for index, draw in enumerate(draws)]
        folder.records_of(0).write_bytes(b"".join(encode_record(one) + b"\n" for one in records))
        folder.summary.write_bytes(b"{}")
        return open_subject(folder.path)

    return make


def request(index: int, ttft: float, failed: bool) -> Record:
    at, first = index * 100 * MS, index * 100 * MS + int(ttft * MS)
    known: dict[str, Any] = {
        "id": f"r{index}", "session": f"s{index:07d}", "node": "n", "kind": "chat", "intended_ns": at, "sent_ns": at,
        "end_ns": first + 50 * MS,
    }  # fmt: skip
    if failed:
        return Record(**known, status="failed", error="timeout")
    return Record(
        **known, first_token_ns=first, last_token_ns=first + 50 * MS, input_tokens=100, output_tokens=6,
        tokens_source="server", clock="kernel", chunks=6,
        chunk_us=[int(ttft * 1000) + 10_000 * step for step in range(6)],
    )  # fmt: skip


def row(found: Comparison, name: str) -> Row:
    (one,) = [one for one in found.rows if one.term == name]
    return one


def test_a_slower_run(make: Make) -> None:
    found = compare([make("a", 100), make("bb", 110), make("ccc", 90)])
    slower, faster = row(found, "ttft.p50").versus
    assert (slower.change, faster.change) == ("worse", "better")
    assert slower.ratio is not None and slower.ratio.low is not None and slower.ratio.high is not None
    assert slower.ratio.low < 1.1 < slower.ratio.high
    assert slower.superiority is not None and slower.superiority > 0.8 and slower.effect == "large"
    assert row(found, "tpot.p50").versus[0].change == "unclear"
    assert row(found, "output_tokens.mean").better is None
    assert [run.label for run in found.runs] == ["A", "B", "C"]
    assert found.differences == [[], []]


def test_told_as_text_and_markdown(make: Make) -> None:
    config = {"backend": {"kind": "openai", "launch": {"args": ["--fast|x"]}}}
    found = compare([make("a", 100), make("bb", 120, config=config, machine="other")])
    text, markdown = telling.text(found), telling.markdown(found)
    assert "ttft.p50" in text and "✗ worse" in text and "large effect" in text
    assert "machine · processor: cpu → other" in text
    assert 'backend.launch: not set → {"args":["--fast|x"]}' in text
    assert "--fast\\|x" in markdown
    assert "| ttft.p50 |" in markdown
    assert "Zou & Donner" in text


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_three_runs_fit_the_terminal_and_lose_nothing(make: Make, tmp_path: Path, width: int) -> None:
    found = compare([make("a", 100), make("bb", 110, machine="other"), make("ccc", 90)])
    wide, told = telling.text(found), telling.text(found, width)
    assert max(map(len, wide.splitlines())) > 160
    lines = [line for line in told.splitlines() if str(tmp_path) not in line]  # a long path stays in one piece
    assert max(map(len, lines)) <= max(width, 100)  # a run against A with interval and effect needs that much
    assert set(told.split()) == set(wide.split())
    assert told.count("ttft.p50") == (2 if width == 160 else 3)


def test_the_classic_table_is_told_of_any_runs(make: Make) -> None:
    """10 ms a token after the first for 6 tokens of 400 requests, 10 a second: 60 tokens/s. Nothing told the memory."""
    closed = make("bb", 100, config={"load": {"concurrency": 4}, "backend": {"model": "m-Q4_0"}}, plan="q")
    found = side_by_side([make("a", 100), closed])
    assert found.rows == []
    base, other = found.classic
    assert (base.model, base.optimisation, base.concurrency, base.rate) == ("m", "e 1", None, 10.0)
    assert (other.concurrency, other.optimisation, other.memory_gb) == (4, "e 1 Q4_0", None)
    assert base.ms_per_token == pytest.approx(10)
    told = telling.markdown(found)
    assert "|  | model | optimisation | concurrency | tokens/s | ms/token | memory |" in told
    assert re.search(r"\| B \| m \| e 1 Q4\\_0 \| 4 \| 59\.\d \| 10\.0 \| – \|", told)
    assert "| A | m | e 1 | 10/s |" in told and "memory was not measured" in told
    assert "ttft.p50" not in told and "ttft.p50" not in telling.text(found)
    assert "A  m " in telling.text(compare([make("ccc", 100), make("dddd", 100)]))


@pytest.mark.parametrize(
    ("gigabytes", "of", "told"),
    [(4.5, "processes", "4.50 GB"), (0.0386, "processes", "38.6 MB"), (140.0, "GPUs", "140 GB"), (None, None, "–")],
)
def test_memory_in_the_classic_table(gigabytes: float | None, of: Any, told: str) -> None:
    row = ClassicRow(
        model="m", optimisation="", concurrency=1, tokens_per_s=1.0, ms_per_token=None, memory_gb=gigabytes,
        memory_of=of,
    )  # fmt: skip
    assert classic_cells(["A"], [row])[1] == ["A", "m", "", "1", "1.00", "–", told]
    whose = {"processes": "peak of the engine's processes", "GPUs": "peak of all GPUs", None: "was not measured"}
    assert whose[of] in classic_note([row])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Ratio(value=1.118, low=1.091, high=1.146), "+11.8 %  (+9.1 … +14.6 %)"),
        (Ratio(value=0.5), "−50.0 %"),
        (Ratio(value=4401.877), "× 4\u202f400"),  # an API against a box under a desk: no percentage to read
        (Ratio(value=12.34, low=9.0, high=15.0), "× 12.3  (9.00 … 15.0)"),
        (None, "–"),
    ],
)
def test_a_change_in_words(found: Ratio | None, told: str) -> None:
    assert telling.change(found) == told


def test_own_hardware_against_hosted_models(make: Make) -> None:
    """3.60 an hour, 10 sessions of 100 in and 6 out a second: 36,000 an hour at 0.0001 each. By price a session is
    (100 x 2 + 6 x 10) / 10^6 = 0.00026: 9.36 an hour, so break even at 3.60 / 9.36 = 38.5 %."""
    rented = {"cost": {"gpu_hour": 3.6, "against": [{"model": "a/b", "input": 20.0, "output": 100.0}]}}
    hosted = {"cost": {"price": {"input": 2.0, "output": 10.0}}}
    found = compare([make("a", 100, config=rented), make("bb", 100, config=hosted)])
    listed, measured = found.self_hosting
    assert (listed.against, measured.other) == ("a/b", "B")
    assert measured.api_per_session == pytest.approx(0.00026)
    assert measured.sessions_per_hour == pytest.approx(3.6 / 0.00026)
    assert measured.utilisation == pytest.approx(3.6 / 9.36, rel=0.02)
    assert listed.utilisation == pytest.approx(measured.utilisation / 10, rel=1e-6)
    for told in (telling.text(found), telling.markdown(found)):
        assert "Own hardware against hosted models" in told and "B: m" in told and "$0.00026" in told
    assert row(found, "cost.per_session").versus[0].ratio is not None
    dear = compare([make("ccc", 100, config={"cost": {"gpu_hour": 36.0}}), make("dddd", 100, config=hosted)])
    assert re.search(r"never \(38\d %\)", telling.text(dear))


def test_money_of_several_currencies_is_not_compared(make: Make) -> None:
    ours, theirs = ({"cost": {"gpu_hour": 1.0, "currency": currency}} for currency in ("USD", "EUR"))
    found = compare([make("a", 100, config=ours), make("bb", 100, config=theirs)])
    assert not [one.term for one in found.rows if one.term.startswith("cost.")]
    assert "USD, EUR" in telling.text(found)


def test_open_against_closed_load_is_refused_always(make: Make) -> None:
    closed = make("bb", 100, config={"load": {"concurrency": 4}}, plan="q")
    with pytest.raises(UsageError, match="closed load"):
        compare([make("a", 100), closed], force=True)


def test_unlike_loads_are_refused_unless_forced(make: Make) -> None:
    base, other = make("a", 100), make("bb", 100, config={"workload": {"kind": "chat", "turns": 3}}, plan="q")
    with pytest.raises(UsageError, match=r"workload\.turns: 1 → 3"):
        compare([base, other])
    forced = compare([base, other], force=True)
    assert forced.unlike[0][0].what == "workload.turns"
    assert "DIFFERENT LOADS" in telling.text(forced)


def test_another_seed_is_the_same_load(make: Make) -> None:
    assert compare([make("a", 100), make("bb", 100, seed=2, plan="q")]).unlike == [[]]


def test_the_same_config_with_another_plan_is_not(make: Make) -> None:
    with pytest.raises(UsageError, match="plan"):
        compare([make("a", 100), make("bb", 100, plan="q")])


@pytest.mark.parametrize(("b", "chance"), [([3, 4], 1.0), ([1, 2], 0.5), ([0, 0], 0.0), ([1, 3], 0.625), ([], None)])
def test_superiority(b: list[float], chance: float | None) -> None:
    assert superiority(np.array([1.0, 2.0]), np.array(b)) == pytest.approx(chance)


def test_summaries_alone_can_be_compared(make: Make, tmp_path: Path) -> None:
    alone = tmp_path / "alone.json"
    alone.write_bytes(to_json(make("bb", 110).summary))
    (tmp_path / "elsewhere").mkdir()
    found = compare([make("a", 100), open_subject(alone)], force=True)
    assert row(found, "ttft.p50").versus[0].change == "worse"
    assert row(found, "ttft.p50").versus[0].superiority is None


@pytest.mark.parametrize("content", ["{}", "[1]", "nonsense", '{"kind": "harness_baseline"}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ResultsError, match=r"x\.json"):
        open_subject(tmp_path / "x.json")


def gated(subject: Subject, baseline: Subject | None, *texts: str) -> GateReport:
    assert subject.analysis is not None
    return judge(subject, subject.analysis, parse_all(texts), baseline)


@pytest.mark.parametrize(
    ("ttft", "verdict", "advisory", "code"),
    [
        (90, "pass", False, 0),
        (101, "pass", False, 0),
        (105, "inconclusive", True, 0),
        (115, "fail", True, 0),
        (132, "inconclusive", False, 12),
        (160, "fail", False, 11),
    ],
)
def test_regressions_within_drift_are_advisory(
    make: Make, ttft: float, verdict: str, advisory: bool, code: int
) -> None:
    report = gated(make("bb", ttft), make("a", 100), "regress(ttft.p50) < 5%")
    (one,) = report.results
    assert (one.verdict, one.advisory, report.exit_code) == (verdict, advisory, code), one
    assert 1.25 < DRIFT < 1.27
    assert any("advisory" in note for note in report.notes)


def test_a_reference_in_the_same_job_normalises(make: Make) -> None:
    """The machine is 20 % slower today: what was 100 is 120, and so is the reference. Then a true +15 %."""
    base = Subject("a", *parts(make("a", 100)), reference=make("r", 50))
    slow_machine = Subject("b", *parts(make("bb", 120)), reference=make("rrr", 60))
    report = gated(slow_machine, base, "regress(ttft.p50) < 5%")
    assert report.normalised
    assert (report.results[0].verdict, report.exit_code) == ("pass", 0)
    slower = Subject("c", *parts(make("ccc", 138)), reference=make("rrrr", 60))
    report = gated(slower, base, "regress(ttft.p50) < 5%")
    assert (report.results[0].verdict, report.exit_code) == ("fail", 11)


def parts(subject: Subject) -> tuple[Any, Any]:
    return subject.facts, subject.analysis


def test_throughput_that_falls_is_worse(make: Make) -> None:
    report = gated(make("bb", 100, 400), make("a", 100, 400), "regress(interactivity.p50) < 5%")
    assert report.results[0].verdict == "pass"


@pytest.mark.parametrize(
    ("other", "words"),
    [({"machine": "new"}, "processor"), ({"config": {"load": {"concurrency": 4}}, "plan": "q"}, "open → closed")],
)
def test_a_baseline_that_does_not_fit_is_inconclusive(make: Make, other: dict[str, Any], words: str) -> None:
    report = gated(make("bb", 300, **other), make("a", 100), "regress(ttft.p50) < 5%")
    assert report.exit_code == 12
    assert words in report.results[0].reason


def test_an_invalid_baseline_lets_nothing_pass(make: Make) -> None:
    subject, base = make("bb", 90), make("a", 100)
    base.summary.validity = Validity(verdict="invalid")
    report = gated(subject, base, "regress(ttft.p50) < 5%", "ttft.p50 < 1s")
    assert [(result.verdict, result.advisory) for result in report.results] == [
        ("inconclusive", False),
        ("pass", False),
    ]
    assert "invalid run" in report.results[0].reason and report.exit_code == 12


def test_limits_come_before_regressions(make: Make) -> None:
    subject, base = make("bb", 300), make("a", 100)
    assert gated(subject, base, "ttft.p50 < 200ms", "regress(ttft.p50) < 5%").exit_code == 10
    assert gated(subject, base, "ttft.p99.9 < 2s", "ttft.p50 < 1s").exit_code == 12


def test_without_a_baseline_regressions_are_skipped_and_told(make: Make) -> None:
    report = gated(make("a", 100), None, "regress(ttft.p50) < 5%", "ttft.p50 < 1s")
    assert (report.results[0].verdict, report.exit_code) == ("skipped", 0)
    assert "--baseline" in gate_telling.text(report)


def test_an_invalid_run_never_passes(make: Make) -> None:
    report = gated(make("a", 100, failed=400), make("bb", 100), "error_rate <= 100%")
    assert report.exit_code == 4
    assert "invalid" in gate_telling.markdown(report)


def test_a_stored_baseline_says_the_same_as_its_run(make: Make, tmp_path: Path) -> None:
    base, subject = make("a", 100), make("bb", 160)
    path = tmp_path / "baselines" / "main.json"
    store(base, [term("ttft.p50"), term("ttft{kind=chat}.p75")], path)
    stored = open_subject(path)
    for text in ("regress(ttft.p50) < 5%", "regress(ttft{kind=chat}.p75) < 5%", "regress(tpot.p50) < 5%"):
        direct, kept = (gated(subject, each, text).results[0] for each in (base, stored))
        assert direct == kept
    lacking = gated(subject, stored, "regress(ttft.p75) < 5%").results[0]
    assert (lacking.verdict, lacking.reason) == ("inconclusive", "not in the summary")
    assert json.loads(path.read_text())["kind"] == "harness_baseline"


def test_a_newer_baseline_is_refused(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    store(make("a", 100), [], path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(ResultsError, match="schema 99"):
        open_subject(path)


def test_terms() -> None:
    assert term("ttft{kind=chat}.p95").name == "ttft{kind=chat}.p95"
    assert (term("output_tokens_per_s").name, term("ttft.p50").better) == ("rates.output_tokens_per_s", "lower")
    assert term("output_tokens_per_s").better == "higher"
    with pytest.raises(ExpressionError, match=r"^'ttfft\.p50': unknown metric") as raised:
        term("ttfft.p50")
    assert "ttft" in raised.value.remedy
