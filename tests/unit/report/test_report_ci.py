"""JUnit XML, GitHub's job summary and annotations: read back by parsers, with hostile text, within their limits."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from harness.metrics.analysis import Analysis
from harness.metrics.summary import Finding, RunInfo, SloResult, Summary, Validity
from harness.report.annotations import MOST, AnnotationsReport, command
from harness.report.github import LIMIT, GitHubReport, cut
from harness.report.junit import JUnitReport

HOSTILE = 'a<b> & "c" \x00\x1b[2J ]]> \ud7ff\U0001f600 ::error::x\n::warning::y % , :'


def judged() -> Summary:
    return Summary(
        run=RunInfo(id="r", name=HOSTILE, seed=7, started_at="2026-11-21T08:34:00Z", duration_s=64.0),
        slo=[
            SloResult(expr="ttft.p95 < 500ms", verdict="pass", value=0.4, limit=0.5, ci95=(0.38, 0.42)),
            SloResult(expr="tpot.p95 < 50ms", verdict="fail", value=0.07, limit=0.05, reason=HOSTILE),
            SloResult(expr="e2e.p99 < 1s", verdict="inconclusive", limit=1.0, reason="too few samples"),
        ],
        gate=[SloResult(expr="regress(ttft.p50) < 5%", verdict="skipped", limit=0.05)],
        validity=Validity(
            verdict="suspect",
            findings=[Finding(code="c", severity="warning", message=HOSTILE, remedy="do, this: now")],
        ),
    )


def told(analysis: Analysis, summary: Summary, report: JUnitReport | AnnotationsReport | GitHubReport) -> str:
    return report.render(replace(analysis, summary=summary))


def test_junit_is_read_by_a_parser(analysis: Analysis) -> None:
    root = ET.fromstring(told(analysis, judged(), JUnitReport()))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.attrib | {"name": ""} == {
        "name": "",
        "timestamp": "2026-11-21T08:34:00Z",
        "time": "64.000",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert cases["ttft.p95 < 500ms"].find("failure") is None
    failure = cases["tpot.p95 < 50ms"].find("failure")
    assert failure is not None and "0.07" in failure.get("message", "")
    assert cases["e2e.p99 < 1s"].find("error") is not None
    assert cases["regress(ttft.p50) < 5%"].find("skipped") is not None
    assert (root.get("tests"), root.get("failures")) == ("5", "1")


def test_an_invalid_run_is_an_error_of_its_own(analysis: Analysis) -> None:
    summary = judged()
    finding = Finding(code="loop_lag", severity="error", message="the loop was late")
    summary.validity = Validity(verdict="invalid", findings=[finding])
    suite = ET.fromstring(told(analysis, summary, JUnitReport()))[0]
    error = suite.find("testcase/error")
    assert error is not None
    assert error.get("message") == "the loop was late"
    assert suite.get("errors") == "2"


def test_annotations_are_one_command_a_line(analysis: Analysis) -> None:
    lines = told(analysis, judged(), AnnotationsReport()).splitlines()
    assert all(re.match(r"^::(error|warning|notice) title=[^:,]*::.", line) for line in lines)
    assert sum(line.startswith("::error") for line in lines) == 1
    assert lines[0].startswith("::error title=tpot.p95 < 50ms::fail")
    assert sum("::warning" in line and line.startswith("::warning") for line in lines) == 3


def test_no_more_annotations_than_github_shows(analysis: Analysis) -> None:
    summary = judged()
    summary.slo = [SloResult(expr=f"ttft.p{n} < 1s", verdict="fail") for n in range(10, 60)]
    lines = told(analysis, summary, AnnotationsReport()).splitlines()
    assert sum(line.startswith("::error") for line in lines) == MOST


def test_a_good_run_is_one_notice(analysis: Analysis) -> None:
    summary = judged()
    summary.slo, summary.gate, summary.validity = summary.slo[:1], [], Validity()
    summary.run.name = "chat"
    assert told(analysis, summary, AnnotationsReport()) == "::notice title=harness%3A chat::valid · 1 of 1 SLOs held\n"


def test_escapes_are_those_of_the_runner() -> None:
    assert command("error", "a:b,c%", "50% x:y,z") == "::error title=a%3Ab%2Cc%25::50%25 x:y,z"


def test_the_job_summary_is_the_markdown_report(analysis: Analysis) -> None:
    assert GitHubReport().render(analysis).startswith("## ")


@pytest.mark.parametrize("size", [10, LIMIT - 2, LIMIT, LIMIT + 1, 3 * LIMIT])
def test_the_job_summary_stays_below_a_mebibyte(size: int) -> None:
    text = ("é" * 39 + "\n") * (size // 79 + 1)
    short = cut(text)
    assert len(short.encode()) < LIMIT
    assert short == text or "cut:" in short
    assert set(short.splitlines()[0]) == {"é"}
