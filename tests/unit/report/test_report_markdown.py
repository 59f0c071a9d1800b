from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.evaluate import evaluate
from harness.metrics.analysis import Analysis
from harness.metrics.summary import Finding, Validity
from harness.records.folder import RunFolder
from harness.report.markdown import MarkdownReport, escape
from harness.report.terminal import TerminalReport


def test_the_table_holds_the_figures_of_the_terminal(analysis: Analysis) -> None:
    told = MarkdownReport().render(analysis)
    row = next(line for line in told.splitlines() if line.startswith("| ttft |"))
    on_screen = next(line for line in TerminalReport().render(analysis).splitlines() if line.startswith(" ttft "))
    for cell in row.strip("| ").split(" | ")[2:]:
        assert cell.partition(" (")[0] in on_screen
    assert told.startswith("## agents: ")


def test_findings_and_errors_have_headings(analysis: Analysis) -> None:
    analysis.summary.validity = Validity(
        verdict="suspect", findings=[Finding(code="x", severity="warning", message="odd", remedy="mend it")]
    )
    analysis.summary.counts.requests.by_error = {"timeout": 2}
    told = MarkdownReport().render(analysis)
    assert "### What to know\n\n- ! odd → mend it\n" in told
    assert "### Errors\n\n- ✗ timeout: 2" in told


def test_an_empty_run_is_told_without_a_table(make_run: Callable[..., RunFolder]) -> None:
    told = MarkdownReport().render(evaluate(make_run([])))
    assert "nothing was sent" in told
    assert "|---" not in told


@given(st.text(alphabet="<>|`*_[]()#&@!\\a \n"))
def test_no_active_character_is_left_unescaped(text: str) -> None:
    told = escape(text)
    place = 0
    while place < len(told):
        if told[place] == "\\":
            place += 2
            continue
        assert told[place] not in "<>|`*_[]#&@"
        place += 1


def test_links_and_mentions_are_broken() -> None:
    assert escape("see http://evil.example @team") == "see http:\\//evil.example \\@team"


def test_hostile_names_stay_inside_their_cell(analysis: Analysis) -> None:
    analysis.summary.target = msgspec.structs.replace(analysis.summary.target, model="a|b\n<img src=x>")
    told = MarkdownReport().render(analysis)
    assert "<img" not in told.replace("\\<img", "")
    assert "a\\|b" in told
