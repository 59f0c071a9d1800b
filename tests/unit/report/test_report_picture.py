import re
import struct
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from harness import registry
from harness.errors import MissingExtra, UsageError
from harness.judge.evaluate import evaluate
from harness.metrics.analysis import Analysis
from harness.records.folder import RunFolder
from harness.report import png
from harness.report.markdown import MarkdownReport
from harness.report.outputs import Outputs
from harness.report.png import PngReport
from harness.report.svg import SvgReport
from harness.report.terminal import TerminalReport

SVG = "{http://www.w3.org/2000/svg}"


def parsed(analysis: Analysis) -> ElementTree.Element:
    return ElementTree.fromstring(SvgReport().render(analysis))


def words(picture: ElementTree.Element) -> list[str]:
    return [span.text or "" for span in picture.iter(f"{SVG}tspan")]


def font() -> None:
    try:
        png._font()
    except UsageError:
        pytest.skip("WITHOUT a font: install one (Debian: apt install fonts-dejavu-core)")


def test_the_card_holds_the_figures_of_the_terminal(analysis: Analysis) -> None:
    told = words(parsed(analysis))
    row = next(line for line in TerminalReport().render(analysis).splitlines() if line.startswith(" ttft "))
    at = told.index("ttft")
    for word in told[at + 1 : at + 7]:
        assert word in row or word.startswith("needs ")
    assert told[0] == "agents" and told[1].endswith(analysis.summary.validity.verdict)


def test_its_curves_stay_in_their_charts(analysis: Analysis) -> None:
    picture = parsed(analysis)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    curves = [path.attrib["d"] for path in picture.iter(f"{SVG}path") if path.attrib["class"] in ("line", "more")]
    assert len(curves) >= 3
    for curve in curves:
        for x, y in (map(float, point.split(",")) for point in curve[1:].split("L")):
            assert 0 <= x <= width and 0 <= y <= height


def test_a_name_that_is_markup_is_only_text(analysis: Analysis) -> None:
    hostile = '</text><script>alert(1)</script>"&\ufffe'
    analysis.summary.target = msgspec.structs.replace(analysis.summary.target, model=hostile)
    analysis.summary.run = msgspec.structs.replace(analysis.summary.run, name=hostile)
    picture = parsed(analysis)
    assert not list(picture.iter(f"{SVG}script")) and not list(picture.iter("script"))
    assert words(picture)[0].startswith("</text><script>")


def test_nothing_is_fetched(analysis: Analysis) -> None:
    drawn = SvgReport().render(analysis).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"href|url\(|@import|src=", drawn)


def test_a_run_of_nothing_has_a_card_too(make_run: Callable[..., RunFolder]) -> None:
    told = words(parsed(evaluate(make_run([]))))
    assert any("nothing was sent" in text for text in told)


def test_a_png_is_the_card_at_twice_its_size(analysis: Analysis) -> None:
    font()
    drawn = PngReport().render(analysis)
    assert drawn[:8] == b"\x89PNG\r\n\x1a\n"
    _, _, width, height = map(float, parsed(analysis).attrib["viewBox"].split())
    assert struct.unpack(">II", drawn[16:24]) == (2 * width, 2 * height)


def test_without_a_font_it_says_what_to_install_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "svg_to_bytes", lambda **_: b"the same whatever is drawn")
    png._font.cache_clear()
    with pytest.raises(UsageError, match="no font") as told:
        Outputs.parse(["png=run.png"])
    png._font.cache_clear()
    assert "fonts-dejavu-core" in told.value.remedy


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.delitem(sys.modules, "harness.report.png")
    with pytest.raises(MissingExtra, match="png"):
        registry.load("harness.reports", "png")


def test_markdown_shows_the_picture_that_is_written_beside_it(tmp_path: Path, analysis: Analysis) -> None:
    asked = [f"md={tmp_path}/docs/run.md", f"svg={tmp_path}/docs/images/run 1.svg"]
    Outputs.parse(asked).write(analysis)
    told = (tmp_path / "docs/run.md").read_text()
    (link,) = re.findall(r"!\[agents: [^\]]*\]\(<(.*)>\)", told)
    assert (tmp_path / "docs" / link).read_text().startswith("<svg")
    Outputs.parse([asked[0]]).write(analysis)
    assert "![" not in (tmp_path / "docs/run.md").read_text()


def test_markdown_draws_the_run_in_letters(analysis: Analysis) -> None:
    (line,) = (line for line in MarkdownReport().render(analysis).splitlines() if line.startswith("- **Over time**"))
    assert re.fullmatch(r"- \*\*Over time\*\*: ttft p50 `[▁-█ ]+` to .*m?s · output `[▁-█ ]+` to .* tok/s", line)
