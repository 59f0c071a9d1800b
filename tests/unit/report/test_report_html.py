import base64
import hashlib
import html
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from harness.judge.evaluate import evaluate
from harness.metrics.analysis import Analysis
from harness.records.folder import RunFolder
from harness.records.record import Record
from harness.report.html import HtmlReport
from harness.report.terminal import TerminalReport

Make = Callable[..., RunFolder]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}${7}"


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and the text of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "br", "rect", "line"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"rect", "line"}:
            return
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]].append(data)
        else:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(page: Page) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(page.inline["script"][0])
    return told


@pytest.fixture
def text(analysis: Analysis) -> str:
    return HtmlReport().render(analysis)


def test_the_page_is_well_formed_small_and_alone(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert len(text.encode()) < 400_000
    for _, attributes in page.elements:
        assert attributes.get("href", "#").startswith("#")
        for name in ("src", "srcset", "action", "data", "poster", "background"):
            assert name not in attributes
    assert "@import" not in text and "url(" not in "".join(page.inline["style"])
    assert not page.all("link")


def test_only_our_own_scripts_and_style_may_run(text: str) -> None:
    page = Page(text)
    policy = next(meta["content"] for meta in page.all("meta") if "Content-Security-Policy" in meta.values())
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for script in (*page.inline["script"][1:], *page.inline["style"]):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(page.inline["script"]) == 4
    assert not any(name.startswith("on") or name == "style" for _, a in page.elements for name in a)


def test_every_table_has_a_caption_every_picture_a_name_and_headings_are_in_order(text: str) -> None:
    page = Page(text)
    assert len(page.all("table")) == len(page.all("caption")) > 3
    for tag in ("figure", "svg"):
        assert all("aria-label" in a or a.get("aria-hidden") == "true" for a in page.all(tag))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids


def test_the_figures_are_those_of_the_terminal_and_of_the_summary(analysis: Analysis, text: str) -> None:
    words = html.unescape(" ".join(Page(text).words))
    screen = TerminalReport().render(analysis)
    for line in screen.splitlines():
        if line.startswith((" ttft ", " tpot ", " session.makespan ")):
            for value in re.findall(r"[\d.]+ (?:ms|s|µs)\b", line):
                assert value in words
    assert analysis.summary.run.plan_sha256 in words
    for line in (analysis.summary.run.id, "What ran, and how to run it again", "map_reduce"):
        assert line in words


def test_marks_of_the_distribution_are_the_summarys_own_numbers(analysis: Analysis, text: str) -> None:
    cdf = data_of(Page(text))["cdf"]
    stats = analysis.summary.metrics["ttft"]
    assert cdf["marks"]["ttft"][0] == ["p50", stats.p50, 0.5]
    assert set(cdf["series"]) == {"ttft", "e2e", "tpot"}


def test_series_are_bounded_whatever_the_run(text: str) -> None:
    told = data_of(Page(text))
    assert all(len(part["x"]) <= 2000 for part in told.values() if isinstance(part, dict) and "x" in part)
    assert all(len(line) == len(told["time"]["x"]) for line in told["time"]["series"].values())


def test_waterfalls_show_the_joins(text: str) -> None:
    page = Page(text)
    words = " ".join(page.words)
    assert "Median session" in words and "Slowest session" in words
    assert len([a for a in page.all("rect") if a.get("class") == "prefill"]) >= 8
    assert "map-0" in words and "reduce" in words


def hostile(record: Record) -> Record:
    return msgspec.structs.replace(record, node=EVIL[:20] + record.node, agent=EVIL)


def test_hostile_text_is_inert_everywhere(make_run: Make, records: list[Record]) -> None:
    told = [hostile(record) for record in records]
    told[5] = msgspec.structs.replace(told[5], status="failed", error=EVIL[:30], error_detail=EVIL, first_token_ns=None)
    target = {"backend": EVIL, "model": EVIL, "url": EVIL, "engine": EVIL, "engine_version": EVIL}
    folder = make_run(told, name="hostile", target=target, machine={EVIL: EVIL}, settings={"a": {"b": EVIL}})
    folder.experiment.write_text(folder.experiment.read_text() + f"# {EVIL}\n")
    folder.manifest.write_bytes(folder.manifest.read_bytes().replace(b'"agents"', json.dumps(EVIL).encode()))
    text = HtmlReport().render(evaluate(folder))
    page = Page(text)
    assert page.open == []
    assert "<script>alert" not in text and "<img" not in text
    assert not page.all("img")
    assert len(page.inline["script"]) == 4
    assert "{{7*7}}" in html.unescape(text)  # told as it came, not evaluated
    assert "\\u003c" in page.inline["script"][0] or "<" not in page.inline["script"][0]


def test_an_empty_a_failed_and_an_interrupted_run_are_told_too(make_run: Make, records: list[Record]) -> None:
    empty = HtmlReport().render(evaluate(make_run([], name="empty")))
    assert "nothing was sent" in empty
    failed = [
        msgspec.structs.replace(
            record, status="failed", error="http_503", error_detail="busy", http_status=503,
            first_token_ns=None, first_output_ns=None, last_token_ns=None, chunks=0, chunk_us=[],
            chunk_tokens=None, output_tokens=None,
        )
        for record in records
    ]  # fmt: skip
    told = HtmlReport().render(evaluate(make_run(failed, name="failed")))
    words = " ".join(Page(told).words)
    assert "no request succeeded" in words and "http_503" in words and "busy" in words
    cut = HtmlReport().render(evaluate(make_run(records[:37], name="cut", ended_at=None)))
    assert "did not end by itself" in cut
    stopped = HtmlReport().render(evaluate(make_run(records[:37], name="stopped", interrupted=True)))
    assert "interrupted" in stopped


def test_a_run_in_memory_has_no_folder_to_point_to(analysis: Analysis) -> None:
    import dataclasses

    text = HtmlReport().render(dataclasses.replace(analysis, folder=None))
    assert "harness run" not in text
    assert "experiment.yaml" not in text
