"""The example pages that the documents link to: small, whole, and without a trace of who made them."""

import re
from pathlib import Path

import pytest

from tests.unit.report.test_report_html import Page

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "results" / "examples").glob("*.html"))


def test_all_are_there_linked_and_small() -> None:
    told = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\(\.\./results/examples/([\w-]+\.html)\)", told))
    assert linked == {path.name for path in EXAMPLES} and len(linked) == 7
    assert all(path.stat().st_size < 300_000 for path in EXAMPLES)
    assert sum(path.stat().st_size for path in EXAMPLES) < 1_500_000


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_whole_and_tells_nothing_of_its_maker(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.open == [] and len(seen.all("table")) >= 1
    assert not re.search(r"/(?:home|root|tmp|work|Users|mnt)/", text)
    assert set(re.findall(r"https?://([\w.-]+)", " ".join(seen.words))) <= {"127.0.0.1"}
