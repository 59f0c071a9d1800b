"""JUnit XML for CI: a test case for the run's validity, one for each SLO and one for each gate.

A failed verdict is a failure; an inconclusive one and an invalid run are errors, since they are no evidence either way;
a gate without its baseline is skipped. Attributes are those that Jenkins, GitLab and GitHub's test reporters read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from harness.metrics.summary import SloResult, Summary
from harness.report.figures import clean

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0, section 2.2
_KINDS = {"fail": "failure", "inconclusive": "error", "skipped": "skipped"}


class JUnitReport:
    """For CI systems that show tests."""

    name = "junit"
    extension = "xml"

    def render(self, analysis: Analysis) -> str:
        """The whole document."""
        summary = analysis.summary
        root = ET.Element("testsuites")
        suite = ET.SubElement(root, "testsuite", _suite(summary))
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(summary):
            ET.SubElement(properties, "property", {"name": name, "value": _legal(value)})
        _validity(suite, summary)
        for group, results in (("slo", summary.slo), ("gate", summary.gate)):
            for result in results:
                _case(suite, f"harness.{group}", result)
        cases = suite.findall("testcase")
        for kind in ("failure", "error", "skipped"):
            plural = {"failure": "failures", "error": "errors", "skipped": "skipped"}[kind]
            number = str(sum(case.find(kind) is not None for case in cases))
            suite.set(plural, number)
            if kind != "skipped":
                root.set(plural, number)
        for element in (root, suite):
            element.set("tests", str(len(cases)))
        ET.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(summary: Summary) -> dict[str, str]:
    run = summary.run
    return {
        "name": _legal(f"harness: {run.name or run.id}"),
        "timestamp": _legal(run.started_at),
        "time": f"{run.duration_s:.3f}",
    }


def _properties(summary: Summary) -> list[tuple[str, str]]:
    told = summary.target
    pairs = {
        "run": summary.run.id,
        "seed": str(summary.run.seed),
        "plan_sha256": summary.run.plan_sha256,
        "engine": " ".join(filter(None, (told.engine or told.backend, told.engine_version))),
        "model": told.model,
        "simulated": str(told.simulated).lower(),
    }
    return [(name, value) for name, value in pairs.items() if value]


def _validity(suite: ET.Element, summary: Summary) -> None:
    case = ET.SubElement(suite, "testcase", {"classname": "harness.validity", "name": "the run can be trusted"})
    lines = [
        f"{finding.severity}: {clean(finding.message)}" + (f" -> {clean(finding.remedy)}" if finding.remedy else "")
        for finding in summary.validity.findings
    ]
    if summary.validity.verdict == "invalid":
        errors = [clean(finding.message) for finding in summary.validity.findings if finding.severity == "error"]
        element = ET.SubElement(case, "error", {"type": "invalid", "message": _legal("; ".join(errors) or "invalid")})
        element.text = _legal("\n".join(lines))
    elif lines:
        ET.SubElement(case, "system-out").text = _legal("\n".join(lines))


def _case(suite: ET.Element, classname: str, result: SloResult) -> None:
    case = ET.SubElement(suite, "testcase", {"classname": classname, "name": _legal(result.expr)})
    words = f"value {_plain(result.value)}, limit {_plain(result.limit)}"
    if result.ci95:
        words += f", 95 % interval {_plain(result.ci95[0])} to {_plain(result.ci95[1])}"
    if result.reason:
        words += f": {clean(result.reason)}"
    kind = _KINDS.get(result.verdict)
    if kind is not None:
        ET.SubElement(case, kind, {"type": result.verdict, "message": _legal(words)})
    else:
        ET.SubElement(case, "system-out").text = _legal(words)


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _legal(text: str) -> str:
    """Text without the characters that no XML document may hold."""
    return _ILLEGAL.sub("\ufffd", clean(text) if "\n" not in text else text)
